#include "harness/metrics/compare.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "harness/base/mutation.h"
#include "harness/stats/bootstrap.h"
#include "harness/stats/percentile.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kComparisonSeed = 15;
constexpr std::array<Percentile, 3> kCompared = {{{"p50", 500}, {"p99", 990}, {"p99.9", 999}}};

struct LatencyMetric {
  std::string_view name;
  SampleSeries RunSamples::*samples;
  PercentileRow LatencyMetrics::*row;
};
constexpr std::array<LatencyMetric, 5> kLatencies = {{
    {"ttft_ms", &RunSamples::ttft, &LatencyMetrics::ttft_ms},
    {"itl_ms", &RunSamples::itl, &LatencyMetrics::itl_ms},
    {"tpot_ms", &RunSamples::tpot, &LatencyMetrics::tpot_ms},
    {"e2e_ms", &RunSamples::e2e, &LatencyMetrics::e2e_ms},
    {"step_ms", &RunSamples::step, &LatencyMetrics::step_ms},
}};

std::string metric_name(const LatencyMetric& latency, const Percentile& percentile) {
  return std::string(latency.name) + "." + std::string(percentile.name);
}

bool has(const EngineResult& engine, const LatencyMetric& latency, const Percentile& percentile) {
  const PercentileRow& row = engine.metrics->latency.*latency.row;
  const auto entry = row.find(std::string(percentile.name));
  return entry != row.end() && entry->second.has_value();
}

std::vector<std::string> shared_metrics(const EngineResult& engine, const EngineResult& baseline) {
  std::vector<std::string> metrics = {"output_tokens_per_s"};
  for (const LatencyMetric& latency : kLatencies) {
    for (const Percentile& percentile : kCompared) {
      if (has(engine, latency, percentile) && has(baseline, latency, percentile)) {
        metrics.push_back(metric_name(latency, percentile));
      }
    }
  }
  metrics.emplace_back("reserved_bytes_peak");
  return metrics;
}

std::optional<RatioEstimate> ratio_of(const std::string& metric,
                                      std::span<const RepeatValues> engine,
                                      std::span<const RepeatValues> baseline) {
  std::vector<double> numerators;
  std::vector<double> denominators;
  for (const RepeatValues& ours : engine) {
    const auto theirs = std::find_if(baseline.begin(), baseline.end(), [&](const auto& other) {
      return KVRM_MUTATE(compare_pairs_by_order, other.repeat == ours.repeat, true);
    });
    if (theirs == baseline.end()) continue;
    const auto numerator = ours.values.find(metric);
    const auto denominator = theirs->values.find(metric);
    if (numerator == ours.values.end() || denominator == theirs->values.end()) continue;
    numerators.push_back(numerator->second);
    denominators.push_back(denominator->second);
  }
  // The same stream for every pair: one set of resampled repeats, so that ratios stay consistent.
  RandomStream stream(kComparisonSeed, metric);
  return paired_ratio(numerators, denominators, stream);
}

}  // namespace

void add_percentiles(const RunSamples& samples, std::map<std::string, double>& values) {
  for (const LatencyMetric& latency : kLatencies) {
    std::vector<double> sorted;
    for (const Observation& observation : (samples.*latency.samples).values) {
      sorted.push_back(observation.ms);
    }
    if (sorted.empty()) continue;
    std::sort(sorted.begin(), sorted.end());
    for (const Percentile& percentile : kCompared) {
      values[metric_name(latency, percentile)] = percentile_of_sorted(sorted, percentile.per_mille);
    }
  }
}

std::vector<Comparison> compare_engines(std::span<const EngineResult> engines,
                                        std::span<const std::vector<RepeatValues>> values) {
  std::vector<Comparison> comparisons;
  for (std::size_t i = 0; i < engines.size(); ++i) {
    for (std::size_t j = 0; j < engines.size(); ++j) {
      if (i == j || !engines[i].metrics || !engines[j].metrics) continue;
      for (const std::string& metric : shared_metrics(engines[i], engines[j])) {
        const auto ratio = ratio_of(metric, values[i], values[j]);
        if (!ratio) continue;
        comparisons.push_back({.point = engines[i].point,
                               .metric = metric,
                               .engine = engines[i].info.label,
                               .baseline = engines[j].info.label,
                               .ratio = {ratio->value, ratio->low, ratio->high}});
      }
    }
  }
  return comparisons;
}

}  // namespace kvrm
