#include "harness/metrics/dictionary.h"

#include <array>
#include <cstddef>
#include <iterator>

namespace kvrm {
namespace {

constexpr std::string_view kRequestPooling =
    "all requests of all repeats; interval: repeats, then blocks of requests";
constexpr std::string_view kRatePooling =
    "sums over repeats; interval: repeats, then blocks of steps";
constexpr std::string_view kSum = "sum over repeats, warm-up included";
constexpr std::string_view kPeak = "largest over all repeats, warm-up included";
constexpr std::string_view kTimeMean = "ratio of byte-seconds over all repeats, warm-up included";
constexpr std::string_view kWholeRun = "start to end of a run";
constexpr std::string_view kDecode = "decode steps, start to end of a run";
constexpr std::string_view kStepEnds = "usage at each step's end, for the time since the last";

constexpr MetricEntry kLatencies[] = {
    {"metrics.ttft_ms", "first token - intended arrival; no token by the end: infinite",
     "intended arrival to end of the last prefill chunk", "ms", kRequestPooling},
    {"metrics.itl_ms", "gap between successive tokens of one request",
     "end of one step to end of the next that gave the request a token", "ms",
     "all gaps of all repeats, but observations are steps; interval: repeats, then blocks of "
     "steps"},
    {"metrics.tpot_ms", "(E2E - TTFT) / (output tokens - 1); none for one token",
     "first token to last token", "ms", kRequestPooling},
    {"metrics.e2e_ms", "last token - intended arrival; unfinished at the end: infinite",
     "intended arrival to last token", "ms", kRequestPooling},
    {"metrics.step_ms", "time between completions of successive steps, idle time included",
     "end of a step to end of the next", "ms",
     "all steps of all repeats; interval: repeats, then blocks of steps"},
    {"metrics.generator_lag_ms_p99", "99th percentile of taken - intended arrival, engine time out",
     "intended arrival to the moment the driver took it", "ms",
     "all requests of all repeats, warm-up included"},
};

constexpr MetricEntry kRates[] = {
    {"metrics.output_tokens_per_s", "output tokens / seconds", "measured window", "1/s",
     kRatePooling},
    {"metrics.goodput_per_s", "requests that finished and met every SLO asked for / seconds",
     "measured window", "1/s", kRatePooling},
    {"metrics.measured_s", "length of the measured window", "end of warm-up to end of the run", "s",
     "sum over repeats"},
    {"metrics.steady",
     "halves' mean step latency within 5%, or not significantly apart (Welch's t, 1%)",
     "end of warm-up to the last admission", "true or false", "true when every repeat is"},
    {"metrics.from_histogram", "latencies whose percentiles come from a histogram, within 0.1%",
     "above ten million samples", "names", "the pooled sample of all repeats"},
    {"spikes.threshold_ms", "slo.spike_factor * median ITL of static with early_exit",
     "the same repeat", "ms", "median over repeats"},
    {"spikes.total", "gaps between tokens above the repeat's threshold", "measured window", "gaps",
     "sum over repeats"},
    {"spikes.in_bursts", "spikes whose gap overlaps a burst window", "measured window", "gaps",
     "sum over repeats; n/a below ten burst windows and in a closed loop"},
    {"spikes.outside", "spikes whose gap overlaps none", "measured window", "gaps",
     "sum over repeats; n/a as in_bursts"},
    {"spikes.burst_windows", "seconds of trace time in the top 1% by arrivals",
     "start to last intended arrival", "windows", "the same in every repeat"},
};

constexpr MetricEntry kCounts[] = {
    {"requests.arrived", "requests that the driver saw", kWholeRun, "requests", kSum},
    {"requests.finished", "requests that got all their tokens", kWholeRun, "requests", kSum},
    {"requests.refused", "requests that could never fit", kWholeRun, "requests", kSum},
    {"requests.in_flight", "requests neither finished nor refused at the end", "end of a run",
     "requests", kSum},
    {"scheduling.preemptions", "requests put back to waiting for lack of memory", kWholeRun,
     "times", kSum},
    {"tokens.prompt", "prompt tokens of admitted requests", kWholeRun, "tokens", kSum},
    {"tokens.output", "tokens given", kWholeRun, "tokens", kSum},
    {"scheduling.recomputed_tokens", "positions prefilled again after preemptions", kWholeRun,
     "tokens", kSum},
    {"phases.plan_ns", "host time to plan a step", "every step", "ns", "mean over steps"},
    {"phases.commit_ns", "host time to commit a step's changes", "every step", "ns",
     "mean over steps"},
    {"phases.replay_ns", "replay or launches, device time included", "every step", "ns",
     "mean over steps"},
    {"phases.sample_ns", "host time to read the sampled tokens", "every step", "ns",
     "mean over steps"},
};

constexpr MetricEntry kMemory[] = {
    {"memory.reserved_bytes_peak", "KV bytes taken from the device", kWholeRun, "B", kPeak},
    {"memory.allocated_bytes_peak", "KV bytes handed to requests", kWholeRun, "B", kPeak},
    {"memory.live_bytes_peak", "KV bytes at positions that attention will still read", kWholeRun,
     "B", kPeak},
    {"memory.live_over_reserved_mean", "live / reserved", kStepEnds, "ratio", kTimeMean},
    {"memory.internal_fragmentation_mean", "1 - live / allocated", kStepEnds, "ratio", kTimeMean},
    {"memory.external_fragmentation_mean", "1 - allocated / reserved", kStepEnds, "ratio",
     kTimeMean},
    {"memory.reserved_byte_seconds", "sum of reserved * time", kStepEnds, "B s", kSum},
    {"memory.allocated_byte_seconds", "sum of allocated * time", kStepEnds, "B s", kSum},
    {"memory.live_byte_seconds", "sum of live * time", kStepEnds, "B s", kSum},
    {"memory.staging_bytes", "views and staging, part of reserved", kWholeRun, "B", kPeak},
    {"memory.graph_bytes", "recorded graphs, beside the budget", kWholeRun, "B", kPeak},
    {"memory.metadata_bytes", "tables, images and records, beside the budget", kWholeRun, "B",
     kPeak},
};

constexpr MetricEntry kMovement[] = {
    {"movement.bytes", "KV bytes copied by transport", kWholeRun, "B", kSum},
    {"movement.kv_read_bytes", "KV bytes that attention read, padding included", kDecode, "B",
     kSum},
    {"movement.groups", "transfer groups of all slots, one layer", kDecode, "groups", kSum},
    {"movement.groups_minimum", "runs: the least number of groups possible", kDecode, "groups",
     kSum},
    {"movement.groups_per_step", "groups / decode steps", kDecode, "groups", kSum},
    {"movement.blocks", "blocks in those groups", kDecode, "blocks", kSum},
    {"movement.blocks_per_group_mean", "blocks / groups", kDecode, "blocks", kSum},
    {"movement.coalescing_efficiency", "groups_minimum / groups", kDecode, "ratio", kSum},
    {"movement.captures", "graphs recorded during the run", kWholeRun, "graphs", kSum},
    {"movement.captures_after_warmup",
     "graphs recorded after the engine was ready for its first request", kWholeRun, "graphs", kSum},
    {"movement.replays", "graph replays", kDecode, "times", kSum},
    {"movement.launches", "operations launched eagerly", kDecode, "times", kSum},
    {"movement.fallbacks", "steps that should have replayed a graph and did not", kDecode, "steps",
     kSum},
    {"movement.launch_hash_changes", "replays whose hash differed from the graph's first", kDecode,
     "times", kSum},
    {"movement.commits", "step descriptors committed", kDecode, "times", kSum},
    {"movement.full_commits", "commits that rebuilt the whole image", kDecode, "times", kSum},
    {"movement.descriptor_bytes", "bytes of step descriptors", kDecode, "B", kSum},
    {"movement.copy_on_writes", "shared blocks copied before a write", kWholeRun, "blocks", kSum},
    {"movement.allocation_failures", "times that no block or slot was free", kWholeRun, "times",
     kSum},
    {"padding.rows", "rows computed, padding included", kDecode, "rows", kSum},
    {"padding.padding_rows", "rows that held no request", kDecode, "rows", kSum},
    {"padding.padding_row_share", "padding_rows / rows", kDecode, "ratio", kSum},
    {"padding.attended_positions", "positions computed by attention, masked ones included", kDecode,
     "positions", kSum},
    {"padding.masked_positions", "positions computed and thrown away", kDecode, "positions", kSum},
    {"padding.masked_position_share", "masked_positions / attended_positions", kDecode, "ratio",
     kSum},
};

constexpr std::string_view kSampledRows = "rows that the oracle gave to verify samples";
constexpr std::string_view kFamily = "all samples of all engines with this rule, all repeats";

constexpr MetricEntry kFarHistory[] = {
    {"far_history.rule", "what stays exact, and how many entries stand for the rest",
     "fixed for an engine's life", "tokens, entries", "none"},
    {"far_history.outputs", "outputs of single query heads that had an entry to see", kSampledRows,
     "outputs", kFamily},
    {"far_history.error_mean", "L2 norm of output - exact attention's, same query, keys and values",
     kSampledRows, "L2 norm", "mean over outputs"},
    {"far_history.error_max", "the same", kSampledRows, "L2 norm", "largest of all outputs"},
    {"far_history.bound_mean", "what DESIGN 9 bounds the error by, with the rounding of means",
     kSampledRows, "L2 norm", "mean over outputs"},
    {"far_history.bound_max", "the same", kSampledRows, "L2 norm", "largest of all outputs"},
    {"far_history.error_over_bound_max", "error / bound of the same output; above 1: invalid",
     kSampledRows, "ratio", "largest of all outputs"},
};

constexpr MetricEntry kComparisons[] = {
    {"comparisons.ratio", "engine / baseline of the same metric", "the same repeat", "ratio",
     "geometric mean over paired repeats; interval: resampled pairs; one pair: none"},
};

constexpr std::size_t kEntries = std::size(kLatencies) + std::size(kRates) + std::size(kCounts) +
                                 std::size(kMemory) + std::size(kMovement) +
                                 std::size(kFarHistory) + std::size(kComparisons);

constexpr std::array<MetricEntry, kEntries> all_entries() {
  std::array<MetricEntry, kEntries> entries;
  std::size_t next = 0;
  const auto append = [&](std::span<const MetricEntry> part) {
    for (const MetricEntry& entry : part) entries[next++] = entry;
  };
  append(kLatencies);
  append(kRates);
  append(kCounts);
  append(kMemory);
  append(kMovement);
  append(kFarHistory);
  append(kComparisons);
  return entries;
}

constexpr std::array<MetricEntry, kEntries> kDictionary = all_entries();

}  // namespace

std::span<const MetricEntry> metric_dictionary() { return kDictionary; }

}  // namespace kvrm
