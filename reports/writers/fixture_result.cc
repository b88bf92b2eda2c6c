#include "reports/writers/fixture_result.h"

#include <limits>

namespace kvrm {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::uint64_t kGiB64 = kGiB;

// Ratios of the percentiles to the median; p99.9 is n/a.
PercentileRow row(double median, double tail = 2) {
  const auto around = [](double value) { return Estimate{value, 0.95 * value, 1.05 * value}; };
  return {{"p50", around(median)},        {"p90", around(1.5 * median)},
          {"p95", around(1.75 * median)}, {"p99", around(tail * median)},
          {"p99.9", std::nullopt},        {"max", Estimate{4 * median, 4 * median, 4 * median}}};
}

RunMetrics metrics(double tokens_per_s, double scale) {
  RunMetrics result;
  result.output_tokens_per_s = {tokens_per_s, 0.9 * tokens_per_s, 1.1 * tokens_per_s};
  result.goodput_per_s = {4.5, 4.25, 4.75};
  result.latency.ttft_ms = row(120 * scale);
  result.latency.itl_ms = row(8.5 * scale, 3);
  result.latency.tpot_ms = row(9 * scale);
  result.latency.e2e_ms = row(2300 * scale);
  result.latency.step_ms = row(8.25 * scale);
  result.spikes = {
      .threshold_ms = 42.5, .total = 7, .in_bursts = 5, .outside = 2, .burst_windows = 12};
  result.generator_lag_ms_p99 = {0.25, 0.25, 0.25};
  result.measured_s = 54.5;
  result.steady = true;
  return result;
}

EngineResult engine(const std::string& kind, const std::string& label, RunStatus status) {
  EngineResult result;
  result.point = {{"part", "attention"}};
  result.info = {.kind = kind, .label = label, .slots = 16, .max_history_tokens = 2048};
  result.backend = "cpu";
  result.status = status;
  result.repeats = 2;
  result.steps = 1000;
  result.requests = {.arrived = 500, .finished = 497, .refused = 2, .in_flight = 1};
  result.prompt_tokens = 60'000;
  result.output_tokens = 30'000;
  result.prefilled_tokens = 59'500;
  result.output_digest = 0x0123456789abcdefULL;
  result.launch_hash = 0xfeedULL;
  result.launch_signature = 0xbeefULL;
  result.memory.reserved_bytes_peak = 4 * kGiB64;
  result.memory.allocated_bytes_peak = 3 * kGiB64;
  result.memory.live_bytes_peak = 2 * kGiB64;
  result.memory.live_over_reserved_mean = 0.375;
  result.memory.internal_fragmentation_mean = 0.25;
  result.memory.external_fragmentation_mean = 0.5;
  result.memory.reserved_byte_seconds = 2.5e11;
  result.memory.allocated_byte_seconds = 1.25e11;
  result.memory.live_byte_seconds = 9.375e10;
  result.phase_mean = {
      .plan = 1200, .commit = 300, .remap = 40, .replay = 8'000'000, .sample = 900};
  result.hidden_host_mean = 250;
  result.exposed_host_mean = 2750;
  return result;
}

EngineCounters counters() {
  return {.moved_bytes = 1 << 20,
          .kv_read_bytes = 1 << 30,
          .groups = 4000,
          .groups_minimum = 3000,
          .blocks = 16'000,
          .history_blocks = 16'000,
          .replays = 1000,
          .commits = 1000,
          .full_commits = 3,
          .descriptor_bytes = 64'000,
          .rows = 16'000,
          .padding_rows = 1600,
          .attended_positions = 2'000'000,
          .masked_positions = 250'000,
          .copy_on_writes = 11,
          .forks = 12};
}

std::vector<EngineResult> engines() {
  std::vector<EngineResult> all;
  all.push_back(engine("static", "static", RunStatus::verified));
  all.back().metrics = metrics(1250.5, 1);
  all.push_back(engine("kvrm", "kvrm_fused", RunStatus::verified));
  all.back().metrics = metrics(1800.25, 0.5);
  all.back().metrics->latency.e2e_ms["p99"] = Estimate{kInfinity, 3000, kInfinity};
  all.back().metrics->latency.from_histogram = {"itl_ms"};
  all.back().metrics->steady = false;
  all.back().memory.reserved_bytes_peak = 3 * kGiB64 / 2;
  all.back().memory.live_over_reserved_mean = 0.875;
  all.back().counters = counters();
  all.back().runs_by_blocks = {4, 3, 2, 1};
  all.back().groups_by_blocks = {5, 4};
  all.back().preemptions = 4;
  all.back().recomputed_tokens = 900;
  all.back().wasted_rows = 37;
  all.back().oracle_samples = 6;
  all.back().oracle_error_max = 1.5e-7;
  all.push_back(engine("paged", "paged", RunStatus::incorrect));
  all.back().status_reason = "request 17: token 3 is 42, the other engines gave 41";
  all.push_back(engine("null", "null", RunStatus::unchecked));
  all.back().metrics = metrics(2e6, 0.001);
  all.back().metrics->spikes = {};
  all.push_back(engine("kvrm", "kvrm_far", RunStatus::approximate));
  all.back().info.exact = false;
  all.back().info.far_history = {.enabled = true,
                                 .block_tokens = 16,
                                 .window_tokens = 1024,
                                 .sink_tokens = 64,
                                 .summaries = 32};
  all.back().metrics = metrics(1900.75, 0.4);
  all.back().counters.far_summaries = 120;
  all.back().counters.far_merges = 88;
  all.back().shadow = {.outputs = 4096,
                       .error_max = 0.03125,
                       .error_sum = 8,
                       .bound_max = 0.5,
                       .bound_sum = 1024,
                       .error_over_bound_max = 0.25};
  all.push_back(engine("paged_graph", "paged_graph", RunStatus::incomplete));
  all.back().point = {{"part", "decoder"}};
  all.back().status_reason = "interrupted";
  return all;
}

EventLog log(std::uint32_t repeat) {
  EventLog result;
  result.repeat = repeat;
  result.duration = 90'000'000;
  result.workload_digest = 0xabcULL;
  result.requests = {{.id = 0,
                      .state = RequestState::finished,
                      .prompt_tokens = 12,
                      .output_budget = 3,
                      .output_tokens = 3,
                      .enqueued = 1000,
                      .admitted = 2000,
                      .first_token = 30'000'000,
                      .finished = 46'000'000,
                      .output_digest = 0x77ULL},
                     {.id = 1,
                      .state = RequestState::refused,
                      .prompt_tokens = 9000,
                      .output_budget = 3,
                      .intended_arrival = 5'000'000,
                      .enqueued = 5'000'500}};
  StepRecord step{
      .start = 30'000'000,
      .end = 38'000'000,
      .active_slots = 1,
      .prefill_tokens = 12,
      .phases = {.plan = 1000, .commit = 200, .remap = 50, .replay = 7'000'000, .sample = 800},
      .prefill = 29'000'000,
      .hidden_host = 600,
      .exposed_host = 1'001'200,
      .memory = {.reserved_bytes = 4096, .allocated_bytes = 2048, .live_bytes = 1024},
      .groups = 4,
      .moved_bytes = 512};
  result.steps = {step, step};
  result.steps[1].start = 38'000'000;
  result.steps[1].end = 46'000'000;
  result.gaps = {{8'000'000, 0, 0}, {8'000'000, 1, 0}};
  result.output_digest = 0x0123456789abcdefULL;
  return result;
}

EngineResult sweep_engine(const std::string& label, std::uint32_t batch, double tokens_per_s) {
  EngineResult result = engine(label, label, RunStatus::verified);
  result.point = {{"budget.max_batch", std::to_string(batch)}, {"placement", "extent"}};
  result.metrics = metrics(tokens_per_s, batch / 16.0);
  result.counters = counters();
  result.counters.groups *= batch;
  result.counters.moved_bytes = label == "kvrm" ? 0 : 123'456'789 * std::uint64_t{batch};
  result.memory.reserved_bytes_peak = batch * kGiB64;
  return result;
}

}  // namespace

ExperimentResult fixture_sweep_result() {
  ExperimentResult result = fixture_result();
  result.name = "sweep";
  result.question = "Does one table answer it?";
  result.interrupted = false;
  result.axes = {"placement", "budget.max_batch"};
  result.output.columns = {
      "metrics.output_tokens_per_s", "metrics.itl_ms.p50", "metrics.itl_ms.p99.9",
      "memory.reserved_bytes_peak",  "movement.bytes",     "movement.groups_per_step",
      "padding.attended_positions"};
  result.engines = {sweep_engine("paged", 16, 1250.5), sweep_engine("kvrm", 16, 1800.25),
                    sweep_engine("paged", 64, 3400),   sweep_engine("kvrm", 64, 3399),
                    sweep_engine("paged", 64, 3400),   sweep_engine("kvrm", 64, 1)};
  for (const std::size_t last : {4, 5}) result.engines[last].point["placement"] = "lifo";
  result.engines[5].status = RunStatus::incorrect;
  result.engines[5].status_reason = "request 17: token 3 is 42, the other engines gave 41";
  result.skipped.clear();
  for (const char* batch : {"1024", "4096"}) {
    result.skipped.push_back(
        {.point = {{"budget.max_batch", batch}, {"placement", "extent"}},
         .reason = "budget.kv_bytes is 96.0 GiB, driver.max_kv_bytes 8.00 GiB"});
  }
  result.comparisons.clear();
  result.digests.clear();
  result.logs.clear();
  return result;
}

ExperimentResult fixture_result() {
  ExperimentResult result;
  result.name = "fixture";
  result.question = "Does every writer say what the result says, and nothing else?";
  result.resolved_yaml = "schema: kvrm.experiment/1\nname: fixture";
  result.output = {.requests = RowDetail::all, .steps = RowDetail::all};
  result.environment.facts = {{"compiler", "GNU 12.2.0"},
                              {"cpu", "Example CPU"},
                              {"gpu", "none"},
                              {"version", "kvrm 0.0.0 (fixture)"}};
  result.digests = {{.point = {{"part", "attention"}}, .model = 1, .workload = 2, .outputs = 3},
                    {.point = {{"part", "decoder"}}, .model = 4, .workload = 5, .outputs = 0}};
  result.engines = engines();
  const std::map<std::string, std::string> point = {{"part", "attention"}};
  result.comparisons = {
      {point, "output_tokens_per_s", "kvrm_fused", "static", {1.44, 1.39, 1.48}},
      {point, "e2e_ms.p99", "kvrm_fused", "static", {kInfinity, 0.65, kInfinity}}};
  result.skipped = {
      {.point = {{"part", "huge"}}, .reason = "needs 96 GiB, the machine has 24 GiB"}};
  result.interrupted = true;
  result.logs.assign(result.engines.size(), {log(0), log(1)});
  return result;
}

}  // namespace kvrm
