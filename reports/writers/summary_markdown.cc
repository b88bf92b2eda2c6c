#include <fmt/format.h>

#include <iterator>

#include "harness/base/units.h"
#include "reports/writers/engine_json.h"
#include "reports/writers/format.h"
#include "reports/writers/sweep_table.h"
#include "reports/writers/writers.h"

namespace kvrm {
namespace {

using Out = std::back_insert_iterator<std::string>;

std::string heading_of(const std::map<std::string, std::string>& point) {
  const std::string text = format_point(point);
  return text.empty() ? "Engines" : text;
}

void append_latencies(std::string& out, std::span<const EngineResult> engines) {
  out +=
      "| engine | status | tok/s | TTFT p50 ms | TTFT p99 ms | ITL p50 ms | ITL p99 ms | E2E p99 "
      "ms |\n|---|---|---|---|---|---|---|---|\n";
  for (const EngineResult& engine : engines) {
    const RunMetrics* metrics = shown_metrics(engine);
    const auto cell = [&](PercentileRow LatencyMetrics::*row, const char* percentile) {
      return metrics != nullptr ? format_estimate(percentile_of_row(engine, row, percentile)) : "-";
    };
    fmt::format_to(Out(out), "| {} | {} | {} | {} | {} | {} | {} | {} |\n", engine.info.label,
                   run_status_name(engine.status),
                   metrics != nullptr ? format_estimate(metrics->output_tokens_per_s) : "-",
                   cell(&LatencyMetrics::ttft_ms, "p50"), cell(&LatencyMetrics::ttft_ms, "p99"),
                   cell(&LatencyMetrics::itl_ms, "p50"), cell(&LatencyMetrics::itl_ms, "p99"),
                   cell(&LatencyMetrics::e2e_ms, "p99"));
  }
  out += "\n";
}

void append_memory(std::string& out, std::span<const EngineResult> engines) {
  out +=
      "| engine | reserved peak | allocated peak | live peak | live / reserved | moved | groups "
      "| padding rows / rows | masked / attended | preemptions | refused |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const EngineResult& engine : engines) {
    const MemoryResult& memory = engine.memory;
    const EngineCounters& counters = engine.counters;
    fmt::format_to(Out(out), "| {} | {} | {} | {} | {} | {} | {} | {}/{} | {}/{} | {} | {} |\n",
                   engine.info.label, format_bytes(memory.reserved_bytes_peak),
                   format_bytes(memory.allocated_bytes_peak), format_bytes(memory.live_bytes_peak),
                   format_ratio(memory.live_over_reserved_mean), format_bytes(counters.moved_bytes),
                   counters.groups, counters.padding_rows, counters.rows, counters.masked_positions,
                   counters.attended_positions, engine.preemptions, engine.requests.refused);
  }
  out += "\n";
}

void append_far_histories(std::string& out, std::span<const EngineResult> engines) {
  std::string rows;
  for (const EngineResult& engine : engines) {
    if (engine.status != RunStatus::approximate) continue;
    const FarHistoryRule& rule = engine.info.far_history;
    const ShadowError& shadow = engine.shadow;
    fmt::format_to(
        Out(rows),
        "| {} | {} + {} + {} | {} | {} | {} | {:.3g} | {:.3g} | {:.3g} | {:.3g} | {:.3g} |\n",
        engine.info.label, rule.sink_tokens, rule.summaries, rule.window_tokens,
        engine.counters.far_summaries, engine.counters.far_merges, shadow.outputs,
        shadow.error_mean(), shadow.error_max, shadow.bound_mean(), shadow.bound_max,
        shadow.error_over_bound_max);
  }
  if (rows.empty()) return;
  out +=
      "| engine | sinks + entries + window | blocks summarised | merges | outputs compared | error "
      "mean | error max | bound mean | bound max | error / bound max |\n"
      "|---|---|---|---|---|---|---|---|---|---|\n";
  out += rows + "\n";
}

void append_remarks(std::string& out, std::span<const EngineResult> engines) {
  for (const EngineResult& engine : engines) {
    if (!engine.status_reason.empty()) {
      fmt::format_to(Out(out), "- {}: {}: {}\n", engine.info.label, run_status_name(engine.status),
                     engine.status_reason);
    }
    const RunMetrics* metrics = shown_metrics(engine);
    if (metrics == nullptr) continue;
    if (!metrics->steady) {
      fmt::format_to(Out(out), "- {}: not in steady state\n", engine.info.label);
    }
    for (const std::string& row : metrics->latency.from_histogram) {
      fmt::format_to(Out(out), "- {}: {} comes from a histogram (within 0.1%)\n", engine.info.label,
                     row);
    }
  }
}

void append_comparisons(std::string& out, const ExperimentResult& result) {
  if (result.comparisons.empty()) return;
  out += "## Comparisons\n\nEngine / baseline, paired by repeat, 95% interval.\n\n";
  out += "| point | metric | engine | baseline | ratio | interval |\n|---|---|---|---|---|---|\n";
  for (const Comparison& comparison : result.comparisons) {
    fmt::format_to(Out(out), "| {} | {} | {} | {} | {} | {} to {} |\n",
                   format_point(comparison.point), comparison.metric, comparison.engine,
                   comparison.baseline, format_ratio(comparison.ratio.value),
                   format_ratio(comparison.ratio.low), format_ratio(comparison.ratio.high));
  }
  out += "\n";
}

void append_environment(std::string& out, const ExperimentResult& result) {
  out += "## Environment\n\n";
  for (const auto& [key, value] : result.environment.facts) {
    fmt::format_to(Out(out), "- {}: {}\n", key, value);
  }
  for (const PointDigests& point : result.digests) {
    fmt::format_to(Out(out), "- digests{}{}: model {}, workload {}, outputs {}\n",
                   point.point.empty() ? "" : " of ", format_point(point.point),
                   digest_text(point.model), digest_text(point.workload),
                   digest_text(point.outputs));
  }
  out += "\n";
}

}  // namespace

Result<std::string> render_summary_markdown(const ExperimentResult& result) {
  std::string out = fmt::format("# {}\n\n{}\n\n", result.name, result.question);
  if (result.interrupted) out += "**Interrupted: the results are incomplete.**\n\n";
  if (!result.output.columns.empty()) {
    out += "## All points\n\nThe best of each point is bold.\n\n" +
           render_sweep_markdown(sweep_table(result)) + "\n";
  }
  for (const std::span<const EngineResult> engines : engines_by_point(result)) {
    fmt::format_to(Out(out), "## {}\n\n", heading_of(engines.front().point));
    append_latencies(out, engines);
    append_memory(out, engines);
    append_far_histories(out, engines);
    const std::size_t before = out.size();
    append_remarks(out, engines);
    if (out.size() > before) out += "\n";
  }
  for (const SkippedPoint& skipped : result.skipped) {
    fmt::format_to(Out(out), "Skipped: {}: {}\n\n", format_point(skipped.point), skipped.reason);
  }
  append_comparisons(out, result);
  append_environment(out, result);
  // The dictionary is a page of its own; one level down it is a section of this one.
  out += "#" + render_dictionary_markdown();
  return out;
}

}  // namespace kvrm
