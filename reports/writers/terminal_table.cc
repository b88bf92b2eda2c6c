#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "harness/base/units.h"
#include "reports/writers/format.h"
#include "reports/writers/sweep_table.h"
#include "reports/writers/terminal_text.h"
#include "reports/writers/writers.h"

namespace kvrm {
namespace {

constexpr std::size_t kNameWidth = 18;

// What an engine has in a column: a number to compare by, where it has one, and its text.
struct Cell {
  std::optional<double> value;
  std::string text;
};

struct Column {
  const char* top;
  const char* bottom;
  std::size_t width;
  bool larger_is_better;
  std::function<Cell(const EngineResult&)> cell;
};

Cell latency_cell(const EngineResult& engine, PercentileRow LatencyMetrics::*row,
                  const char* percentile) {
  if (shown_metrics(engine) == nullptr) return {std::nullopt, "-"};
  const auto estimate = percentile_of_row(engine, row, percentile);
  if (!estimate) return {std::nullopt, kNotAvailable};
  return {estimate->value, format_value(estimate->value)};
}

Column latency_column(const char* top, PercentileRow LatencyMetrics::*row, const char* percentile) {
  return {top, percentile, 6, false, [row, percentile](const EngineResult& engine) {
            return latency_cell(engine, row, percentile);
          }};
}

Cell throughput_cell(const EngineResult& engine) {
  const RunMetrics* metrics = shown_metrics(engine);
  if (metrics == nullptr) return {std::nullopt, "-"};
  const double value = metrics->output_tokens_per_s.value;
  // Seven characters are enough for whole millions.
  const bool millions = value >= 1e6 && value < 9'999'999;
  return {value, millions ? fmt::format("{:.0f}", value) : format_value(value)};
}

Cell reserved_cell(const EngineResult& engine) {
  const std::uint64_t bytes = engine.memory.reserved_bytes_peak;
  return {static_cast<double>(bytes), format_bytes(bytes)};
}

Cell live_cell(const EngineResult& engine) {
  const double share = engine.memory.live_over_reserved_mean;
  return {share, format_ratio(share)};
}

std::vector<Column> columns() {
  return {
      {"output", "tok/s", 7, true, throughput_cell},
      latency_column("TTFT", &LatencyMetrics::ttft_ms, "p50"),
      latency_column("ms", &LatencyMetrics::ttft_ms, "p99"),
      latency_column("ITL", &LatencyMetrics::itl_ms, "p50"),
      latency_column("ms", &LatencyMetrics::itl_ms, "p99"),
      latency_column("E2E ms", &LatencyMetrics::e2e_ms, "p99"),
      {"reserved", "peak", 8, false, reserved_cell},
      {"live /", "resv", 6, true, live_cell},
  };
}

std::optional<double> best_in(const Column& column, std::span<const EngineResult> engines) {
  std::vector<double> values;
  for (const EngineResult& engine : engines) {
    const Cell cell = column.cell(engine);
    if (competes(engine) && cell.value) values.push_back(*cell.value);
  }
  return best_of(values, column.larger_is_better);
}

std::string render_cell(const Column& column, const EngineResult& engine,
                        const std::optional<double>& best, bool color) {
  const Cell cell = column.cell(engine);
  const bool is_best = best && competes(engine) && cell.value == best;
  const std::string text = fmt::format("{:>{}}{}", cell.text, column.width, is_best ? "*" : " ");
  return " " + (is_best ? painted(text, kPaintBest, color) : text);
}

std::string render_header(std::span<const Column> table) {
  std::string top = fmt::format("{:<{}}", "engine", kNameWidth);
  std::string bottom(kNameWidth, ' ');
  for (const Column& column : table) {
    top += fmt::format(" {:>{}} ", column.top, column.width);
    bottom += fmt::format(" {:>{}} ", column.bottom, column.width);
  }
  return top + " status\n" + bottom + "\n";
}

std::string render_point(std::span<const EngineResult> engines, bool color) {
  const std::vector<Column> table = columns();
  std::vector<std::optional<double>> best;
  for (const Column& column : table) best.push_back(best_in(column, engines));
  std::string out = render_header(table);
  for (const EngineResult& engine : engines) {
    out += fmt::format("{:<{}}", shortened(engine.info.label, kNameWidth), kNameWidth);
    for (std::size_t i = 0; i < table.size(); ++i) {
      out += render_cell(table[i], engine, best[i], color);
    }
    const std::string status(run_status_name(engine.status));
    out += " " + (carries_metrics(engine.status) ? status : painted(status, kPaintAlarm, color)) +
           "\n";
  }
  return out;
}

std::string render_reasons(std::span<const EngineResult> engines) {
  std::string out;
  for (const EngineResult& engine : engines) {
    if (engine.status_reason.empty()) continue;
    out += wrapped(fmt::format("{}: {}: {}", engine.info.label, run_status_name(engine.status),
                               engine.status_reason));
  }
  return out;
}

std::string render_far_histories(std::span<const EngineResult> engines) {
  std::string out;
  for (const EngineResult& engine : engines) {
    const std::string text = format_far_history(engine);
    if (!text.empty()) out += wrapped(fmt::format("{}: {}", engine.info.label, text));
  }
  return out;
}

std::string render_points(const ExperimentResult& result, bool color) {
  std::string out;
  for (const std::span<const EngineResult> engines : engines_by_point(result)) {
    out += "\n";
    const std::string point = format_point(engines.front().point);
    if (!point.empty()) out += wrapped(point);
    out += render_point(engines, color) + render_far_histories(engines) + render_reasons(engines);
  }
  return out;
}

std::string render_skipped(const ExperimentResult& result) {
  std::string out;
  for (const SkippedPoint& skipped : result.skipped) {
    out += wrapped(fmt::format("skipped: {}: {}", format_point(skipped.point), skipped.reason));
  }
  const std::size_t count = result.skipped.size();
  return count > 1 ? out + fmt::format("{} points skipped\n", count) : out;
}

}  // namespace

std::string render_table(const ExperimentResult& result, bool color) {
  std::string out =
      wrapped(result.question.empty() ? result.name : result.name + ": " + result.question);
  out += result.output.columns.empty() ? render_points(result, color)
                                       : "\n" + render_sweep_text(sweep_table(result), color);
  out += "\n" + render_skipped(result);
  if (result.interrupted) out += "Interrupted: the results are incomplete.\n";
  out += result.output.columns.empty() ? "* best exact one of its column"
                                       : "* best exact one of its point; ! see above";
  return out + "; n/a: too few observations; -: no metrics without a verified output\n";
}

}  // namespace kvrm
