#include "reports/writers/engine_json.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "harness/base/check.h"
#include "harness/stats/percentile.h"
#include "reports/writers/format.h"

namespace kvrm {
namespace {

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Blocks over how many runs they lie in; none where no engine has runs.
Json mean_size(std::uint64_t blocks, const SizeHistogram& sizes) {
  const std::uint64_t runs = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  return runs == 0 ? Json() : Json(share(blocks, runs));
}

Json row_json(const PercentileRow& row) {
  Json json = Json::object();
  for (const Percentile& percentile : kPercentiles) {  // the table's order, not the alphabet's
    const std::string name(percentile.name);
    const auto entry = row.find(name);
    json[name] = entry != row.end() && entry->second ? estimate_json(*entry->second) : Json();
  }
  return json;
}

Json metrics_json(const RunMetrics& metrics) {
  const LatencyMetrics& latency = metrics.latency;
  return {
      {"output_tokens_per_s", estimate_json(metrics.output_tokens_per_s)},
      {"goodput_per_s", estimate_json(metrics.goodput_per_s)},
      {"ttft_ms", row_json(latency.ttft_ms)},
      {"itl_ms", row_json(latency.itl_ms)},
      {"tpot_ms", row_json(latency.tpot_ms)},
      {"e2e_ms", row_json(latency.e2e_ms)},
      {"step_ms", row_json(latency.step_ms)},
      {"from_histogram", latency.from_histogram},
      {"generator_lag_ms_p99", estimate_json(metrics.generator_lag_ms_p99)},
      {"measured_s", metrics.measured_s},
      {"steady", metrics.steady},
  };
}

template <class T>
Json optional_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json spikes_json(const SpikeMetrics& spikes) {
  return {
      {"threshold_ms", spikes.threshold_ms ? number_json(*spikes.threshold_ms) : Json()},
      {"total", optional_json(spikes.total)},
      {"in_bursts", optional_json(spikes.in_bursts)},
      {"outside", optional_json(spikes.outside)},
      {"burst_windows", spikes.burst_windows},
  };
}

Json phases_json(const EngineResult& engine) {
  const PhaseTimes& phases = engine.phase_mean;
  return {{"plan_ns", phases.plan},
          {"commit_ns", phases.commit},
          {"remap_ns", phases.remap},
          {"replay_ns", phases.replay},
          {"sample_ns", phases.sample},
          {"hidden_host_ns", engine.hidden_host_mean},
          {"exposed_host_ns", engine.exposed_host_mean}};
}

Json memory_json(const MemoryResult& memory, bool with_times) {
  Json json = {
      {"reserved_bytes_peak", memory.reserved_bytes_peak},
      {"allocated_bytes_peak", memory.allocated_bytes_peak},
      {"live_bytes_peak", memory.live_bytes_peak},
      {"live_over_reserved_mean", memory.live_over_reserved_mean},
      {"internal_fragmentation_mean", memory.internal_fragmentation_mean},
      {"external_fragmentation_mean", memory.external_fragmentation_mean},
      {"staging_bytes", memory.staging_bytes},
      {"graph_bytes", memory.graph_bytes},
      {"metadata_bytes", memory.metadata_bytes},
  };
  if (with_times) {
    json["reserved_byte_seconds"] = memory.reserved_byte_seconds;
    json["allocated_byte_seconds"] = memory.allocated_byte_seconds;
    json["live_byte_seconds"] = memory.live_byte_seconds;
  }
  return json;
}

Json movement_json(const EngineResult& engine) {
  const EngineCounters& counters = engine.counters;
  return {
      {"bytes", counters.moved_bytes},
      {"groups", counters.groups},
      {"groups_per_step", share(counters.groups, engine.steps)},
      {"blocks_per_group_mean", share(counters.blocks, counters.groups)},
      {"captures", counters.captures},
      {"replays", counters.replays},
      {"launches", counters.launches},
      {"fallbacks", counters.fallbacks},
      {"kv_read_bytes", counters.kv_read_bytes},
      {"groups_minimum", counters.groups_minimum},
      {"blocks", counters.blocks},
      {"coalescing_efficiency", share(counters.groups_minimum, counters.groups)},
      {"captures_after_warmup", engine.captures_after_warmup},
      {"launch_hash_changes", engine.launch_hash_changes},
      {"launch_signature", digest_text(engine.launch_signature)},
      {"commits", counters.commits},
      {"full_commits", counters.full_commits},
      {"descriptor_bytes", counters.descriptor_bytes},
      {"copy_on_writes", counters.copy_on_writes},
      {"allocation_failures", counters.allocation_failures},
      {"forks", counters.forks},
      {"compacted_blocks", counters.compacted_blocks},
      {"map_calls", counters.map_calls},
      {"mapped_bytes", counters.mapped_bytes},
      {"far_summaries", counters.far_summaries},
      {"far_merges", counters.far_merges},
      {"history_blocks", counters.history_blocks},
      {"blocks_per_run_mean", mean_size(counters.history_blocks, engine.runs_by_blocks)},
      {"runs_by_blocks", engine.runs_by_blocks},
      {"groups_by_blocks", engine.groups_by_blocks},
  };
}

Json padding_json(const EngineCounters& counters) {
  return {
      {"rows", counters.rows},
      {"padding_rows", counters.padding_rows},
      {"padding_row_share", share(counters.padding_rows, counters.rows)},
      {"attended_positions", counters.attended_positions},
      {"masked_positions", counters.masked_positions},
      {"masked_position_share", share(counters.masked_positions, counters.attended_positions)},
  };
}

Json far_history_json(const FarHistoryRule& rule, const ShadowError& shadow) {
  return {
      {"rule",
       {{"block_tokens", rule.block_tokens},
        {"window_tokens", rule.window_tokens},
        {"sink_tokens", rule.sink_tokens},
        {"summaries", rule.summaries}}},
      {"outputs", shadow.outputs},
      {"error_mean", shadow.error_mean()},
      {"error_max", shadow.error_max},
      {"bound_mean", shadow.bound_mean()},
      {"bound_max", shadow.bound_max},
      {"error_over_bound_max", number_json(shadow.error_over_bound_max)},
  };
}

Json identity_json(const EngineResult& engine) {
  return {
      {"point", engine.point},
      {"name", engine.info.label},
      {"kind", engine.info.kind},
      {"backend", engine.backend},
      {"status", run_status_name(engine.status)},
      {"status_reason", engine.status_reason},
      {"exact", engine.info.exact},
      {"slots", engine.info.slots},
      {"max_history_tokens", engine.info.max_history_tokens},
      {"repeats", engine.repeats},
      {"steps", engine.steps},
      {"requests",
       {{"arrived", engine.requests.arrived},
        {"finished", engine.requests.finished},
        {"refused", engine.requests.refused},
        {"in_flight", engine.requests.in_flight}}},
      {"tokens",
       {{"prompt", engine.prompt_tokens},
        {"output", engine.output_tokens},
        {"prefilled", engine.prefilled_tokens}}},
      {"scheduling",
       {{"preemptions", engine.preemptions},
        {"recomputed_tokens", engine.recomputed_tokens},
        {"wasted_rows", engine.wasted_rows}}},
      {"output_digest", digest_text(engine.output_digest)},
      {"launch_hash", digest_text(engine.launch_hash)},
      {"verification",
       {{"oracle_samples", engine.oracle_samples},
        {"oracle_error_max", number_json(engine.oracle_error_max)}}},
  };
}

}  // namespace

Json number_json(double value) {
  KVRM_CHECK(!std::isnan(value) && value != -std::numeric_limits<double>::infinity());
  return std::isinf(value) ? Json("inf") : Json(value);
}

Json estimate_json(const Estimate& estimate) {
  return {{"value", number_json(estimate.value)},
          {"low", number_json(estimate.low)},
          {"high", number_json(estimate.high)}};
}

std::string digest_text(std::uint64_t digest) { return fmt::format("{:016x}", digest); }

Json engine_json(const EngineResult& engine) {
  const RunMetrics* metrics = shown_metrics(engine);
  Json json = identity_json(engine);
  if (metrics != nullptr) {
    json["metrics"] = metrics_json(*metrics);
    json["spikes"] = spikes_json(metrics->spikes);
    json["phases"] = phases_json(engine);
  }
  json["memory"] = memory_json(engine.memory, metrics != nullptr);
  json["movement"] = movement_json(engine);
  json["padding"] = padding_json(engine.counters);
  if (engine.info.far_history.enabled) {
    json["far_history"] = far_history_json(engine.info.far_history, engine.shadow);
  }
  return json;
}

}  // namespace kvrm
