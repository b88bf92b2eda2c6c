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
     "intended arrival to end of the last prefill chunk", "ms", kRequestPooling, Better::smaller,
     MetricForm::percentiles},
    {"metrics.itl_ms", "gap between successive tokens of one request",
     "end of one step to end of the next that gave the request a token", "ms",
     "all gaps of all repeats, but observations are steps; interval: repeats, then blocks of "
     "steps",
     Better::smaller, MetricForm::percentiles},
    {"metrics.tpot_ms", "(E2E - TTFT) / (output tokens - 1); none for one token",
     "first token to last token", "ms", kRequestPooling, Better::smaller, MetricForm::percentiles},
    {"metrics.e2e_ms", "last token - intended arrival; unfinished at the end: infinite",
     "intended arrival to last token", "ms", kRequestPooling, Better::smaller,
     MetricForm::percentiles},
    {"metrics.step_ms", "time between completions of successive steps, idle time included",
     "end of a step to end of the next", "ms",
     "all steps of all repeats; interval: repeats, then blocks of steps", Better::smaller,
     MetricForm::percentiles},
    {"metrics.generator_lag_ms_p99", "99th percentile of taken - intended arrival, engine time out",
     "intended arrival to the moment the driver took it", "ms",
     "all requests of all repeats, warm-up included", Better::smaller},
};

constexpr MetricEntry kRates[] = {
    {"metrics.output_tokens_per_s", "output tokens / seconds", "measured window", "1/s",
     kRatePooling, Better::larger},
    {"metrics.goodput_per_s", "requests that finished and met every SLO asked for / seconds",
     "measured window", "1/s", kRatePooling, Better::larger},
    {"metrics.measured_s", "length of the measured window", "end of warm-up to end of the run", "s",
     "sum over repeats"},
    {"metrics.steady",
     "halves' mean step latency within 5%, or not significantly apart (Welch's t, 1%)",
     "end of warm-up to the last admission", "true or false", "true when every repeat is"},
    {"metrics.from_histogram", "latencies whose percentiles come from a histogram, within 0.1%",
     "above ten million samples", "names", "the pooled sample of all repeats", Better::neither,
     MetricForm::other},
    {"spikes.threshold_ms", "slo.spike_factor * median ITL of static with early_exit",
     "the same repeat", "ms", "median over repeats"},
    {"spikes.total", "gaps between tokens above the repeat's threshold", "measured window", "gaps",
     "sum over repeats", Better::smaller},
    {"spikes.in_bursts", "spikes whose gap overlaps a burst window", "measured window", "gaps",
     "sum over repeats; n/a below ten burst windows and in a closed loop", Better::smaller},
    {"spikes.outside", "spikes whose gap overlaps none", "measured window", "gaps",
     "sum over repeats; n/a as in_bursts", Better::smaller},
    {"spikes.burst_windows", "seconds of trace time in the top 1% by arrivals",
     "start to last intended arrival", "windows", "the same in every repeat"},
};

constexpr MetricEntry kCounts[] = {
    {"slots", "rows of the batch that the budget holds", "before the first request", "slots",
     "the same in every repeat"},
    {"max_history_tokens", "longest history that fits alone", "before the first request", "tokens",
     "the same in every repeat"},
    {"repeats", "runs of the engine", kWholeRun, "runs", "counted"},
    {"steps", "decode steps", kWholeRun, "steps", kSum},
    {"verification.oracle_samples", "requests replayed through the oracle", "after the runs",
     "requests", kSum},
    {"verification.oracle_error_max", "largest |engine - oracle| over the largest |oracle|",
     "last output of a replayed request", "ratio", "largest over all replayed requests"},
    {"requests.arrived", "requests that the driver saw", kWholeRun, "requests", kSum},
    {"requests.finished", "requests that got all their tokens", kWholeRun, "requests", kSum,
     Better::larger},
    {"requests.refused", "requests that could never fit", kWholeRun, "requests", kSum,
     Better::smaller},
    {"requests.in_flight", "requests neither finished nor refused at the end", "end of a run",
     "requests", kSum, Better::smaller},
    {"scheduling.preemptions", "requests put back to waiting for lack of memory", kWholeRun,
     "times", kSum, Better::smaller},
    {"tokens.prompt", "prompt tokens of admitted requests", kWholeRun, "tokens", kSum},
    {"tokens.output", "tokens given", kWholeRun, "tokens", kSum},
    {"tokens.prefilled", "positions prefilled, recomputed ones included; shared ones are not",
     kWholeRun, "tokens", kSum, Better::smaller},
    {"scheduling.recomputed_tokens", "positions prefilled again after preemptions", kWholeRun,
     "tokens", kSum, Better::smaller},
    {"scheduling.wasted_rows",
     "rows planned ahead whose request ended or was preempted before the step", kWholeRun, "rows",
     kSum, Better::smaller},
    {"phases.plan_ns", "host time to plan a step, without what was done ahead of it", "every step",
     "ns", "mean over steps", Better::smaller},
    {"phases.commit_ns", "host time to commit a step's changes", "every step", "ns",
     "mean over steps", Better::smaller},
    {"phases.remap_ns", "part of commit: page-table work of transport remap", "every step", "ns",
     "mean over steps", Better::smaller},
    {"phases.replay_ns", "replay or launches, device time included",
     "start of the launch to end of the device's work", "ns", "mean over steps", Better::smaller},
    {"phases.sample_ns", "host time to read the sampled tokens", "every step", "ns",
     "mean over steps", Better::smaller},
    {"phases.hidden_host_ns", "host work while the device worked on the step", "every step", "ns",
     "mean over steps", Better::smaller},
    {"phases.exposed_host_ns",
     "time in which the device did not work, without prefill and waiting for arrivals",
     "end of a step to end of the next", "ns", "mean over steps", Better::smaller},
};

constexpr MetricEntry kMemory[] = {
    {"memory.reserved_bytes_peak", "KV bytes taken from the device", kWholeRun, "B", kPeak,
     Better::smaller},
    {"memory.allocated_bytes_peak", "KV bytes handed to requests", kWholeRun, "B", kPeak,
     Better::smaller},
    {"memory.live_bytes_peak", "KV bytes at positions that attention will still read", kWholeRun,
     "B", kPeak},
    {"memory.live_over_reserved_mean", "live / reserved", kStepEnds, "ratio", kTimeMean,
     Better::larger},
    {"memory.internal_fragmentation_mean", "1 - live / allocated", kStepEnds, "ratio", kTimeMean,
     Better::smaller},
    {"memory.external_fragmentation_mean", "1 - allocated / reserved", kStepEnds, "ratio",
     kTimeMean, Better::smaller},
    {"memory.reserved_byte_seconds", "sum of reserved * time", kStepEnds, "B s", kSum,
     Better::smaller},
    {"memory.allocated_byte_seconds", "sum of allocated * time", kStepEnds, "B s", kSum,
     Better::smaller},
    {"memory.live_byte_seconds", "sum of live * time", kStepEnds, "B s", kSum},
    {"memory.staging_bytes", "views and staging, part of reserved", kWholeRun, "B", kPeak,
     Better::smaller},
    {"memory.graph_bytes", "recorded graphs, beside the budget", kWholeRun, "B", kPeak,
     Better::smaller},
    {"memory.metadata_bytes", "tables, images and records, beside the budget", kWholeRun, "B",
     kPeak, Better::smaller},
};

constexpr MetricEntry kMovement[] = {
    {"movement.bytes", "KV bytes copied by transport", kWholeRun, "B", kSum, Better::smaller},
    {"movement.kv_read_bytes", "KV bytes that attention read, padding included", kDecode, "B", kSum,
     Better::smaller},
    {"movement.groups", "transfer groups of all slots, one layer", kDecode, "groups", kSum,
     Better::smaller},
    {"movement.groups_minimum", "runs: the least number of groups possible", kDecode, "groups",
     kSum},
    {"movement.groups_per_step", "groups / decode steps", kDecode, "groups", kSum, Better::smaller},
    {"movement.blocks", "blocks in those groups", kDecode, "blocks", kSum},
    {"movement.blocks_per_group_mean", "blocks / groups", kDecode, "blocks", kSum, Better::larger},
    {"movement.coalescing_efficiency", "groups_minimum / groups", kDecode, "ratio", kSum,
     Better::larger},
    {"movement.captures", "graphs recorded during the run", kWholeRun, "graphs", kSum},
    {"movement.captures_after_warmup",
     "graphs recorded after the engine was ready for its first request", kWholeRun, "graphs", kSum,
     Better::smaller},
    {"movement.replays", "graph replays", kDecode, "times", kSum},
    {"movement.launches", "operations launched eagerly", kDecode, "times", kSum},
    {"movement.fallbacks", "steps that should have replayed a graph and did not", kDecode, "steps",
     kSum, Better::smaller},
    {"movement.launch_signature",
     "hash of the replayed kernels, shapes and arguments, device addresses as (buffer, offset)",
     "last decode replay", "hash", "the first repeat", Better::neither, MetricForm::other},
    {"movement.launch_hash_changes", "replays whose hash differed from the graph's first", kDecode,
     "times", kSum, Better::smaller},
    {"movement.commits", "step descriptors committed", kDecode, "times", kSum},
    {"movement.full_commits", "commits that rebuilt the whole image", kDecode, "times", kSum,
     Better::smaller},
    {"movement.descriptor_bytes", "bytes of step descriptors", kDecode, "B", kSum, Better::smaller},
    {"movement.forks", "requests admitted by sharing another's prompt", kWholeRun, "times", kSum},
    {"movement.copy_on_writes", "shared blocks copied before a write", kWholeRun, "blocks", kSum},
    {"movement.allocation_failures", "times that no block or slot was free", kWholeRun, "times",
     kSum, Better::smaller},
    {"movement.compacted_blocks", "blocks moved to join runs", kWholeRun, "blocks", kSum},
    {"movement.map_calls", "page-table calls of transport remap", kWholeRun, "times", kSum},
    {"movement.mapped_bytes", "bytes that those calls mapped", kWholeRun, "B", kSum},
    {"movement.far_summaries", "blocks that became an entry of a far history", kWholeRun, "blocks",
     kSum},
    {"movement.far_merges", "entries that merged into their neighbour", kWholeRun, "entries", kSum},
    {"movement.history_blocks", "blocks of all open histories, at every step", kDecode, "blocks",
     kSum},
    {"movement.blocks_per_run_mean", "history_blocks / runs", kDecode, "blocks", kSum,
     Better::larger},
    {"movement.runs_by_blocks", "entry i: runs of 2^i to 2^(i+1) - 1 blocks", kDecode, "runs",
     "sum over steps, entry by entry", Better::neither, MetricForm::other},
    {"movement.groups_by_blocks", "entry i: groups of 2^i to 2^(i+1) - 1 blocks", kDecode, "groups",
     "sum over steps, entry by entry", Better::neither, MetricForm::other},
    {"padding.rows", "rows computed, padding included", kDecode, "rows", kSum},
    {"padding.padding_rows", "rows that held no request", kDecode, "rows", kSum, Better::smaller},
    {"padding.padding_row_share", "padding_rows / rows", kDecode, "ratio", kSum, Better::smaller},
    {"padding.attended_positions", "positions computed by attention, masked ones included", kDecode,
     "positions", kSum},
    {"padding.masked_positions", "positions computed and thrown away", kDecode, "positions", kSum,
     Better::smaller},
    {"padding.masked_position_share", "masked_positions / attended_positions", kDecode, "ratio",
     kSum, Better::smaller},
};

constexpr std::string_view kSampledRows = "rows that the oracle gave to verify samples";
constexpr std::string_view kFamily = "all samples of all engines with this rule, all repeats";

constexpr MetricEntry kFarHistory[] = {
    {"far_history.rule", "what stays exact, and how many entries stand for the rest",
     "fixed for an engine's life", "tokens, entries", "none", Better::neither, MetricForm::other},
    {"far_history.outputs", "outputs of single query heads that had an entry to see", kSampledRows,
     "outputs", kFamily},
    {"far_history.error_mean", "L2 norm of output - exact attention's, same query, keys and values",
     kSampledRows, "L2 norm", "mean over outputs", Better::smaller},
    {"far_history.error_max", "the same", kSampledRows, "L2 norm", "largest of all outputs",
     Better::smaller},
    {"far_history.bound_mean", "what bounds the error (docs/kvrm.md, Far history)", kSampledRows,
     "L2 norm", "mean over outputs"},
    {"far_history.bound_max", "the same", kSampledRows, "L2 norm", "largest of all outputs"},
    {"far_history.error_over_bound_max", "error / bound of the same output; above 1: invalid",
     kSampledRows, "ratio", "largest of all outputs"},
};

constexpr MetricEntry kComparisons[] = {
    {"comparisons.ratio", "engine / baseline of the same metric", "the same repeat", "ratio",
     "geometric mean over paired repeats; interval: resampled pairs; one pair: none",
     Better::neither, MetricForm::other},
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
