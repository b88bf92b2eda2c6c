#include "harness/metrics/summarise.h"

#include <algorithm>
#include <string>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/metrics/compare.h"
#include "harness/metrics/percentile_row.h"
#include "harness/metrics/rates.h"
#include "harness/metrics/samples.h"
#include "harness/metrics/spikes.h"
#include "harness/metrics/totals.h"
#include "harness/metrics/window.h"
#include "harness/stats/bootstrap.h"
#include "harness/stats/percentile.h"
#include "harness/stats/steady_state.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kRateSeed = 13;

// One run with its warm-up cut off.
struct MeasuredRun {
  const EventLog* log = nullptr;
  Window window;
  RunSamples samples;
  RunRates rates;
};

std::vector<MeasuredRun> measure(const ExperimentPoint& point, std::span<const EventLog> logs) {
  std::vector<MeasuredRun> runs;
  for (const EventLog& log : logs) {
    const Window window = measured_window(log, point.driver.warmup_share);
    runs.push_back(
        {&log, window, collect_samples(log, window), collect_rates(log, window, point.slo)});
  }
  return runs;
}

Estimate rate(std::span<const MeasuredRun> runs, std::vector<BlockSums> RunRates::*member,
              std::string_view purpose) {
  std::vector<BlockSums> blocks;
  std::vector<std::uint32_t> repeat_blocks;
  for (const MeasuredRun& run : runs) {
    const std::vector<BlockSums>& of_run = run.rates.*member;
    blocks.insert(blocks.end(), of_run.begin(), of_run.end());
    repeat_blocks.push_back(static_cast<std::uint32_t>(of_run.size()));
  }
  RandomStream stream(kRateSeed, purpose);
  const Interval interval = bootstrap_rate(blocks, repeat_blocks, stream);
  return {pooled_rate(blocks), interval.low, interval.high};
}

PercentileRow latency_row(std::span<const MeasuredRun> runs, SampleSeries RunSamples::*member,
                          const ExperimentPoint& point, std::string_view name,
                          std::set<std::string>& from_histogram) {
  std::vector<const SampleSeries*> repeats;
  for (const MeasuredRun& run : runs) repeats.push_back(&(run.samples.*member));
  PooledRow row =
      pooled_row(repeats, {.point_estimates = point.output.point_estimates, .purpose = name});
  if (row.from_histogram) from_histogram.insert(std::string(name));
  return std::move(row.row);
}

LatencyMetrics latency_rows(std::span<const MeasuredRun> runs, const ExperimentPoint& point) {
  LatencyMetrics rows;
  auto& labels = rows.from_histogram;
  rows.ttft_ms = latency_row(runs, &RunSamples::ttft, point, "ttft_ms", labels);
  rows.itl_ms = latency_row(runs, &RunSamples::itl, point, "itl_ms", labels);
  rows.tpot_ms = latency_row(runs, &RunSamples::tpot, point, "tpot_ms", labels);
  rows.e2e_ms = latency_row(runs, &RunSamples::e2e, point, "e2e_ms", labels);
  rows.step_ms = latency_row(runs, &RunSamples::step, point, "step_ms", labels);
  return rows;
}

// Step latencies from the end of warm-up to the last admission: after it the batch can only empty,
// by design and in every engine.
bool run_is_steady(const MeasuredRun& run) {
  Nanoseconds last_admission = -1;
  for (const RequestRecord& request : run.log->requests) {
    last_admission = std::max(last_admission, request.admitted);
  }
  const std::span<const StepRecord> steps = run.log->steps;
  std::vector<double> series;
  for (std::size_t i = 1; i < steps.size() && (KVRM_MUTATE(summary_steady_after_admissions,
                                                           steps[i].end <= last_admission, true));
       ++i) {
    if (!run.window.contains(steps[i - 1].end)) continue;
    series.push_back(to_ms(steps[i].end - steps[i - 1].end));
  }
  return is_steady(series);
}

SampleSeries lag_series(const EventLog& log) {
  SampleSeries lag;
  for (const RequestRecord& request : log.requests) {
    if (request.enqueued < 0) continue;
    lag.values.push_back({to_ms(request.enqueued - request.intended_arrival), lag.units++});
  }
  return lag;
}

Estimate lag_p99(std::span<const EventLog> logs) {
  std::vector<SampleSeries> series;
  for (const EventLog& log : logs) series.push_back(lag_series(log));
  std::vector<const SampleSeries*> repeats;
  for (const SampleSeries& one : series) repeats.push_back(&one);
  return pooled_percentile(repeats, 990, "generator_lag");
}

RunMetrics metrics_of(std::span<const MeasuredRun> runs, const ExperimentPoint& point,
                      std::span<const EventLog> logs) {
  RunMetrics metrics;
  metrics.output_tokens_per_s = rate(runs, &RunRates::tokens, "output_tokens_per_s");
  metrics.goodput_per_s = rate(runs, &RunRates::good_requests, "goodput_per_s");
  metrics.latency = latency_rows(runs, point);
  metrics.generator_lag_ms_p99 = lag_p99(logs);
  metrics.steady = std::all_of(runs.begin(), runs.end(), run_is_steady);
  for (const MeasuredRun& run : runs) metrics.measured_s += run.window.seconds();
  return metrics;
}

std::vector<RepeatValues> repeat_values(std::span<const MeasuredRun> runs) {
  std::vector<RepeatValues> result;
  for (const MeasuredRun& run : runs) {
    RepeatValues values{.repeat = run.log->repeat, .values = {}};
    values.values["output_tokens_per_s"] = pooled_rate(run.rates.tokens);
    values.values["reserved_bytes_peak"] = static_cast<double>(reserved_peak(*run.log));
    add_percentiles(run.samples, values.values);
    result.push_back(std::move(values));
  }
  return result;
}

// The spike reference of all engines: `static` with early exit, where its output was verified.
ReferenceMedians reference_medians(const ExperimentPoint& point,
                                   std::span<const EngineResult> engines,
                                   std::span<const std::vector<RepeatValues>> values) {
  ReferenceMedians medians;
  for (const EngineSpec& spec : point.engines) {
    if (spec.kind != "static" || spec.options.attention != StaticAttention::early_exit) continue;
    for (std::size_t i = 0; i < engines.size(); ++i) {
      if (engines[i].info.label != spec.label || !engines[i].metrics) continue;
      for (const RepeatValues& run : values[i]) {
        const auto median = run.values.find("itl_ms.p50");
        if (median != run.values.end()) medians[run.repeat] = median->second;
      }
      return medians;
    }
  }
  return medians;
}

}  // namespace

double generator_lag_ms_p99(std::span<const EventLog> logs) {
  std::vector<double> lags;
  for (const EventLog& log : logs) {
    for (const Observation& lag : lag_series(log).values) lags.push_back(lag.ms);
  }
  return lags.empty() ? 0 : percentile_of(lags, 990);
}

std::vector<Comparison> summarise_point(const ExperimentPoint& point,
                                        std::span<EngineResult> engines,
                                        std::span<const std::vector<EventLog>> logs) {
  KVRM_CHECK_EQ(engines.size(), logs.size());
  std::vector<std::vector<RepeatValues>> values(engines.size());
  for (std::size_t i = 0; i < engines.size(); ++i) {
    engines[i].point = point.axes;
    engines[i].backend = point.backend.kind;
    fill_totals(logs[i], engines[i]);
    if (!carries_metrics(engines[i].status) || logs[i].empty()) continue;
    const std::vector<MeasuredRun> runs = measure(point, logs[i]);
    engines[i].metrics = metrics_of(runs, point, logs[i]);
    values[i] = repeat_values(runs);
  }
  const ReferenceMedians medians = reference_medians(point, engines, values);
  for (std::size_t i = 0; i < engines.size(); ++i) {
    if (engines[i].metrics) engines[i].metrics->spikes = count_spikes(point, logs[i], medians);
  }
  return compare_engines(engines, values);
}

}  // namespace kvrm
