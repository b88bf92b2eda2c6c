// The results of an experiment as value types: what results.json holds. A run's status decides
// which fields exist: metrics are there only where the output was verified (or is meaningless by
// design, `unchecked`).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "harness/config/experiment.h"
#include "harness/contract/engine.h"
#include "harness/result/event_log.h"

namespace kvrm {

enum class RunStatus : std::uint8_t {
  verified,
  approximate,
  modelled,
  unchecked,
  incorrect,
  invalid,
  incomplete,
};
std::string_view run_status_name(RunStatus status);
// verified, approximate, modelled and unchecked.
bool carries_metrics(RunStatus status);

// A value with its 95% interval; both ends equal the value where no interval could be formed.
// Infinity is a value: a percentile that an unfinished request reaches.
struct Estimate {
  double value = 0;
  double low = 0;
  double high = 0;
};

// p50 p90 p95 p99 p99.9 max; an empty entry is n/a (too few independent observations, DESIGN 14).
using PercentileRow = std::map<std::string, std::optional<Estimate>>;

struct LatencyMetrics {
  PercentileRow ttft_ms;
  PercentileRow itl_ms;
  PercentileRow tpot_ms;
  PercentileRow e2e_ms;
  PercentileRow step_ms;
  // Rows whose sample was too large to keep, so that they come from a histogram (within 0.1%).
  std::set<std::string> from_histogram;
};

struct SpikeMetrics {
  std::optional<double> threshold_ms;      // median over repeats; n/a without the reference engine
  std::optional<std::uint64_t> total;      // n/a likewise
  std::optional<std::uint64_t> in_bursts;  // n/a also with fewer than ten burst windows
  std::optional<std::uint64_t> outside;    // likewise
  std::uint64_t burst_windows = 0;
};

struct RunMetrics {
  Estimate output_tokens_per_s;
  Estimate goodput_per_s;
  LatencyMetrics latency;
  SpikeMetrics spikes;
  Estimate generator_lag_ms_p99;
  double measured_s = 0;  // length of the measured window, warm-up excluded, all repeats together
  bool steady = false;    // the steady-state test passed on every repeat
};

struct MemoryResult {
  std::uint64_t reserved_bytes_peak = 0;
  std::uint64_t allocated_bytes_peak = 0;
  std::uint64_t live_bytes_peak = 0;
  double live_over_reserved_mean = 0;      // weighted by time, like the next two
  double internal_fragmentation_mean = 0;  // 1 - live / allocated
  double external_fragmentation_mean = 0;  // 1 - allocated / reserved
  double reserved_byte_seconds = 0;
  double allocated_byte_seconds = 0;
  double live_byte_seconds = 0;
  std::uint64_t staging_bytes = 0;
  std::uint64_t graph_bytes = 0;
  std::uint64_t metadata_bytes = 0;
};

struct RequestCounts {
  std::uint64_t arrived = 0;
  std::uint64_t finished = 0;
  std::uint64_t refused = 0;
  std::uint64_t in_flight = 0;
};

// One engine at one point, all repeats together. Counters are sums over repeats of the whole run,
// warm-up included.
struct EngineResult {
  std::map<std::string, std::string> point;
  EngineInfo info;
  std::string backend;
  RunStatus status = RunStatus::incomplete;
  std::string status_reason;  // for people; empty when verified
  std::uint32_t repeats = 0;
  std::uint64_t steps = 0;  // decode steps of all repeats
  RequestCounts requests;
  std::uint64_t prompt_tokens = 0;
  std::uint64_t output_tokens = 0;
  std::uint64_t prefilled_tokens = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t recomputed_tokens = 0;
  std::uint64_t wasted_rows = 0;
  std::uint64_t output_digest = 0;
  std::uint64_t launch_hash = 0;
  std::uint64_t launch_signature = 0;
  std::uint64_t launch_hash_changes = 0;
  std::uint64_t captures_after_warmup = 0;
  std::optional<RunMetrics> metrics;  // only where carries_metrics(status)
  MemoryResult memory;
  EngineCounters counters;
  SizeHistogram runs_by_blocks{};  // EngineUsage's, over all decode steps of all repeats
  SizeHistogram groups_by_blocks{};
  PhaseTimes phase_mean;             // per step
  Nanoseconds hidden_host_mean = 0;  // per step, as the next
  Nanoseconds exposed_host_mean = 0;
  std::uint64_t oracle_samples = 0;  // requests replayed through the oracle
  double oracle_error_max = 0;       // largest difference seen, relative as documented in verify.h
  // Far history (info.far_history.enabled): its distance from exact attention, over all outputs
  // that the oracle gave for engines with this rule.
  ShadowError shadow;
};

struct Comparison {
  std::map<std::string, std::string> point;
  std::string metric;  // "output_tokens_per_s", "itl_ms.p99", ...
  std::string engine;
  std::string baseline;
  Estimate ratio;  // engine / baseline, paired by repeat
};

struct SkippedPoint {
  std::map<std::string, std::string> point;
  std::string reason;
};

struct PointDigests {
  std::map<std::string, std::string> point;
  std::uint64_t model = 0;
  std::uint64_t workload = 0;
  std::uint64_t outputs = 0;  // 0 where the exact engines disagree
};

// Facts about the machine and the build (environment.json); values as they stand in the file.
struct Environment {
  std::map<std::string, std::string> facts;
};

struct ExperimentResult {
  std::string name;
  std::string question;
  std::string resolved_yaml;
  std::vector<std::string> axes;  // of the sweep, slowest first
  OutputSpec output;              // rows of requests.csv and steps.csv, columns of the table
  Environment environment;
  std::vector<PointDigests> digests;
  std::vector<EngineResult> engines;
  std::vector<Comparison> comparisons;
  std::vector<SkippedPoint> skipped;
  bool interrupted = false;
  // Event logs, for requests.csv and steps.csv, in the order of `engines` (all repeats of one
  // engine together).
  std::vector<std::vector<EventLog>> logs;
};

}  // namespace kvrm
