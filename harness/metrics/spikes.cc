#include "harness/metrics/spikes.h"

#include <algorithm>
#include <cmath>

#include "harness/base/mutation.h"
#include "harness/metrics/samples.h"
#include "harness/stats/percentile.h"

namespace kvrm {
namespace {

struct SpikeCount {
  std::uint64_t in_bursts = 0;
  std::uint64_t outside = 0;
};

std::int64_t trace_second(Nanoseconds time, double time_multiplier) {
  const double second = static_cast<double>(kNanosecondsPerSecond) * time_multiplier;
  return static_cast<std::int64_t>(std::floor(static_cast<double>(time) / second));
}

bool overlaps(const std::set<std::int64_t>& seconds, std::int64_t first, std::int64_t last) {
  const auto next = seconds.lower_bound(first);
  return next != seconds.end() && *next <= last;
}

// 1 for loops that have no trace time of their own.
double multiplier_of(const ExperimentPoint& point) {
  const double multiplier = point.workload.arrivals.time_multiplier;
  return multiplier > 0 ? multiplier : 1;
}

SpikeCount count_run(const EventLog& log, const Window& window, double threshold_ms,
                     const std::set<std::int64_t>& bursts, double time_multiplier) {
  SpikeCount count;
  for (const TokenGap& gap : log.gaps) {
    const Nanoseconds end = gap_end(log, gap);
    const bool spike = KVRM_MUTATE(spikes_at_threshold, to_ms(gap.gap) > threshold_ms,
                                   to_ms(gap.gap) >= threshold_ms);
    if (!spike || !window.contains(end)) continue;
    const bool burst = overlaps(
        bursts, trace_second(end - KVRM_MUTATE(spikes_by_end_only, gap.gap, 0), time_multiplier),
        trace_second(end, time_multiplier));
    ++(burst ? count.in_bursts : count.outside);
  }
  return count;
}

}  // namespace

std::set<std::int64_t> burst_seconds(const EventLog& log, double time_multiplier) {
  std::vector<std::uint64_t> arrivals;
  for (const RequestRecord& request : log.requests) {
    const auto second =
        static_cast<std::size_t>(trace_second(request.intended_arrival, time_multiplier));
    if (second >= arrivals.size()) arrivals.resize(second + 1);
    ++arrivals[second];
  }
  std::vector<std::int64_t> busiest(arrivals.size());
  for (std::size_t i = 0; i < busiest.size(); ++i) busiest[i] = static_cast<std::int64_t>(i);
  std::stable_sort(busiest.begin(), busiest.end(), [&](std::int64_t a, std::int64_t b) {
    return arrivals[static_cast<std::size_t>(a)] > arrivals[static_cast<std::size_t>(b)];
  });
  busiest.resize(arrivals.size() / KVRM_MUTATE(spikes_one_burst_more, 100U, 99U));
  return {busiest.begin(), busiest.end()};
}

SpikeMetrics count_spikes(const ExperimentPoint& point, std::span<const EventLog> logs,
                          const ReferenceMedians& medians) {
  const double multiplier = multiplier_of(point);
  const bool open_loop = point.workload.arrivals.kind != ArrivalSpec::Kind::closed;
  SpikeMetrics metrics;
  SpikeCount total;
  std::vector<double> thresholds;
  for (const EventLog& log : logs) {
    const auto median = medians.find(log.repeat);
    if (median == medians.end()) return {};
    thresholds.push_back(point.slo.spike_factor * median->second);
    std::set<std::int64_t> bursts;
    if (open_loop) bursts = burst_seconds(log, multiplier);
    metrics.burst_windows = bursts.size();  // the same arrivals in every repeat
    const SpikeCount count = count_run(log, measured_window(log, point.driver.warmup_share),
                                       thresholds.back(), bursts, multiplier);
    total.in_bursts += count.in_bursts;
    total.outside += count.outside;
  }
  if (thresholds.empty()) return {};
  metrics.threshold_ms = percentile_of(thresholds, 500);
  metrics.total = total.in_bursts + total.outside;
  if (metrics.burst_windows >= kBurstWindowsMin) {
    metrics.in_bursts = total.in_bursts;
    metrics.outside = total.outside;
  }
  return metrics;
}

}  // namespace kvrm
