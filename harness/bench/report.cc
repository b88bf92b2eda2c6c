// What a run of a suite prints: JSON, or one table.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "harness/bench/bench.h"

namespace kvrm {
namespace {

// A table's columns are the figures of all rows, in the order of their first mention.
std::vector<std::string> figure_names(const std::vector<BenchRow>& rows) {
  std::vector<std::string> names;
  for (const BenchRow& row : rows) {
    for (const BenchFigure& figure : row.figures) {
      if (std::find(names.begin(), names.end(), figure.name) == names.end())
        names.push_back(figure.name);
    }
  }
  return names;
}

std::string figure_text(const BenchRow& row, const std::string& name) {
  const auto found = std::find_if(row.figures.begin(), row.figures.end(),
                                  [&](const BenchFigure& figure) { return figure.name == name; });
  return found == row.figures.end() ? "-" : fmt::format("{:.3f}", found->value);
}

}  // namespace

std::string report_to_json(const BenchReport& report) {
  nlohmann::ordered_json json;
  json["rows"] = nlohmann::ordered_json::array();
  for (const BenchRow& row : report.rows) {
    nlohmann::ordered_json fields = {{"suite", row.suite},
                                     {"design", row.design},
                                     {"shape", row.shape},
                                     {"threads", row.threads},
                                     {"repetitions", row.repetitions},
                                     {"ns_per_op", row.ns_per_op},
                                     {"ns_per_op_low", row.ns_per_op_low},
                                     {"ns_per_op_high", row.ns_per_op_high}};
    for (const BenchFigure& figure : row.figures) fields[figure.name] = figure.value;
    json["rows"].push_back(std::move(fields));
  }
  if (!report.skipped.empty()) json["skipped"] = report.skipped;
  return json.dump(2);
}

std::string report_to_table(const BenchReport& report) {
  std::size_t design = 12;
  std::size_t shape = 16;
  for (const BenchRow& row : report.rows) {
    design = std::max(design, row.design.size());
    shape = std::max(shape, row.shape.size());
  }
  const std::vector<std::string> names = figure_names(report.rows);
  std::string table = fmt::format("{:<10} {:<{}} {:<{}} {:>7} {:>12} {:>24}", "suite", "design",
                                  design, "shape", shape, "threads", "ns/op", "95%");
  for (const std::string& name : names) table += "  " + name;
  for (const BenchRow& row : report.rows) {
    table += fmt::format("\n{:<10} {:<{}} {:<{}} {:>7} {:>12.1f} {:>24}", row.suite, row.design,
                         design, row.shape, shape, row.threads, row.ns_per_op,
                         fmt::format("{:.1f} .. {:.1f}", row.ns_per_op_low, row.ns_per_op_high));
    for (const std::string& name : names)
      table += fmt::format("  {:>{}}", figure_text(row, name), name.size());
  }
  for (const std::string& skipped : report.skipped) table += "\nskipped: " + skipped;
  return table;
}

}  // namespace kvrm
