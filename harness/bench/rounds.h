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
  std::uint64_t work = 0;        // of one measurement, in what the probe counts, such as bytes
  std::uint64_t operations = 1;  // in one measurement
  std::function<Nanoseconds()> measure;
};

struct RoundsSpec {
  std::uint32_t rounds = 1;       // after one that only warms up
  std::uint64_t seed = 1;         // of the orders
  std::function<double()> probe;  // work a nanosecond, such as GB/s; none where there is no limit
};

// One case in one round.
struct RoundSample {
  Nanoseconds elapsed = 0;
  double probe = 0;  // harmonic mean of the probes before and after
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

// Repetitions and the time of an operation.
void set_time(BenchRow& row, const RoundCase& measured, std::span<const RoundSample> samples);

struct RateNames {
  std::string probe = "probe_gbps";
  std::string rate = "gbps";
  std::string share = "share_of_probe";
};

// The probe, the rate, and the rate's share of the probe with its interval: the median of the
// rounds' own shares.
void add_rate(BenchRow& row, const RoundCase& measured, std::span<const RoundSample> samples,
              const RateNames& names);

// `<name>` with its interval: the median of the ratios, round by round, of the times of a
// measurement.
void add_time_ratio(BenchRow& row, std::string_view name, std::span<const RoundSample> samples,
                    std::span<const RoundSample> reference);

// `<name>`: one over a figure that the row has.
void add_inverse(BenchRow& row, std::string_view name, std::string_view of);

}  // namespace kvrm
