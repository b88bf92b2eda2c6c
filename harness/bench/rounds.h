// Measurements in rounds, for figures that are shares of a bandwidth which does not hold still:
// each round runs every case once in random order, with a probe of the bandwidth just before and
// just after, so that shares and ratios are paired. What is probed is the suite's business.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/base/units.h"
#include "harness/bench/bench.h"

namespace kvrm {

struct RoundCase {
  std::string design;
  std::uint64_t bytes = 0;       // that one measurement has to move
  std::uint64_t operations = 1;  // in one measurement
  std::function<Nanoseconds()> measure;
};

struct RoundsSpec {
  std::uint32_t rounds = 1;       // after one that only warms up
  std::uint64_t seed = 1;         // of the orders
  std::function<double()> probe;  // bytes a nanosecond, GB/s
};

// One case in one round.
struct RoundSample {
  Nanoseconds elapsed = 0;
  double probe_gbps = 0;  // harmonic mean of the probes before and after
};

// [case][round]
std::vector<std::vector<RoundSample>> run_rounds(std::span<const RoundCase> cases,
                                                 const RoundsSpec& spec);

struct MedianInterval {
  double median = 0;
  double low = 0;  // 95% by order statistics (median_interval_ranks)
  double high = 0;
};
MedianInterval median_interval(std::vector<double> values);

// Time, probe_gbps, `<rate_name>` and share_of_probe with its interval. The share is the median of
// the rounds' own shares.
void set_rate_figures(BenchRow& row, const RoundCase& measured,
                      std::span<const RoundSample> samples, std::string_view rate_name);

// `<name>` with its interval: the median of the ratios, round by round, of the times of a
// measurement.
void add_time_ratio(BenchRow& row, std::string_view name, std::span<const RoundSample> samples,
                    std::span<const RoundSample> reference);

}  // namespace kvrm
