#include "reports/writers/sweep_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <span>

#include "harness/base/check.h"
#include "harness/base/units.h"
#include "reports/writers/engine_json.h"
#include "reports/writers/format.h"

namespace kvrm {
namespace {

// What stands at a column's name in an engine of results.json; null where the engine has none.
const Json* find_value(const Json& engine, const MetricColumn& column) {
  const Json* found = &engine;
  std::string_view path = column.entry->name;
  while (!path.empty()) {
    const std::size_t dot = path.find('.');
    const auto next = found->find(std::string(path.substr(0, dot)));
    if (next == found->end()) return nullptr;
    found = &*next;
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  }
  if (!column.percentile.empty()) found = &found->at(std::string(column.percentile));
  return found->is_object() ? &found->at("value") : found;  // an estimate
}

SweepCell number_cell(const Json& value, std::string_view unit) {
  if (value.is_number_integer()) {
    const auto count = value.get<std::uint64_t>();
    return {static_cast<double>(count), unit == "B" ? format_bytes(count) : format_count(count)};
  }
  const auto number = value.get<double>();
  return {number, unit == "ratio" ? format_ratio(number) : format_value(number)};
}

SweepCell make_cell(const Json& engine, const MetricColumn& column) {
  const Json* value = find_value(engine, column);
  if (value == nullptr) return {std::nullopt, "-"};
  if (value->is_null()) return {std::nullopt, kNotAvailable};
  if (value->is_boolean()) return {std::nullopt, value->get<bool>() ? "yes" : "no"};
  if (value->is_string()) return {std::numeric_limits<double>::infinity(), "inf"};
  KVRM_CHECK(value->is_number());
  return number_cell(*value, column.entry->unit);
}

void mark_best(const MetricColumn& column, std::span<SweepRow> point, std::size_t index) {
  if (column.entry->better == Better::neither) return;
  std::vector<double> values;
  for (const SweepRow& row : point) {
    const SweepCell& cell = row.cells[index];
    if (competes(*row.engine) && cell.value) values.push_back(*cell.value);
  }
  const auto best = best_of(values, column.entry->better == Better::larger);
  for (SweepRow& row : point) {
    SweepCell& cell = row.cells[index];
    cell.best = best && competes(*row.engine) && cell.value == best;
  }
}

SweepRow make_row(const EngineResult& engine, const SweepTable& table) {
  SweepRow row;
  row.engine = &engine;
  for (const std::string& axis : table.axes) {
    const auto value = engine.point.find(axis);
    row.axes.push_back(value == engine.point.end() ? "" : value->second);
  }
  const Json json = engine_json(engine);
  for (const MetricColumn& column : table.columns) row.cells.push_back(make_cell(json, column));
  return row;
}

}  // namespace

SweepTable sweep_table(const ExperimentResult& result) {
  SweepTable table;
  table.axes = result.axes;
  table.names = result.output.columns;
  for (const std::string& name : table.names) {
    const std::optional<MetricColumn> column = find_metric_column(name);
    KVRM_CHECK(column.has_value());
    table.columns.push_back(*column);
  }
  for (const std::span<const EngineResult> engines : engines_by_point(result)) {
    const std::size_t first = table.rows.size();
    for (const EngineResult& engine : engines) table.rows.push_back(make_row(engine, table));
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      mark_best(table.columns[i], std::span(table.rows).subspan(first), i);
    }
  }
  return table;
}

std::vector<std::string> axis_heads(const std::vector<std::string>& axes) {
  std::vector<std::string> heads;
  for (const std::string& axis : axes) {
    const std::string tail = axis.substr(axis.rfind('.') + 1);  // npos + 1 is 0
    const auto alike = std::count_if(axes.begin(), axes.end(), [&](const std::string& other) {
      return other.substr(other.rfind('.') + 1) == tail;
    });
    heads.push_back(alike == 1 ? tail : axis);
  }
  return heads;
}

std::string render_sweep_markdown(const SweepTable& table) {
  std::string head = "|";
  for (const std::string& axis : axis_heads(table.axes)) head += " " + axis + " |";
  head += " engine |";
  for (std::size_t i = 0; i < table.names.size(); ++i) {
    head += fmt::format(" {}, {} |", table.names[i], table.columns[i].entry->unit);
  }
  std::string out = head + "\n|";
  for (std::size_t i = 0; i <= table.axes.size() + table.names.size(); ++i) out += "---|";
  out += "\n";
  for (const SweepRow& row : table.rows) {
    out += "|";
    for (const std::string& value : row.axes) out += " " + value + " |";
    const RunStatus status = row.engine->status;
    out += carries_metrics(status)
               ? fmt::format(" {} |", row.engine->info.label)
               : fmt::format(" {} ({}) |", row.engine->info.label, run_status_name(status));
    for (const SweepCell& cell : row.cells) {
      const char* const bold = cell.best ? "**" : "";
      out += fmt::format(" {1}{0}{1} |", cell.text, bold);
    }
    out += "\n";
  }
  return out;
}

}  // namespace kvrm
