// Exact percentiles by nearest rank, and how many observations a percentile needs before it may be
// reported. Pure functions; nothing is interpolated, so an infinite observation stays infinite.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace kvrm {

// A percentile by name, in thousandths so that ranks are exact integers.
struct Percentile {
  std::string_view name;
  std::uint32_t per_mille = 0;
};

inline constexpr std::array<Percentile, 6> kPercentiles = {
    {{"p50", 500}, {"p90", 900}, {"p95", 950}, {"p99", 990}, {"p99.9", 999}, {"max", 1000}}};

// Rank, from 1, of the percentile among `count` ordered observations: ceil(count * per_mille /
// 1000), at least 1. CHECKs count > 0 and per_mille <= 1000.
std::uint64_t nearest_rank(std::uint64_t count, std::uint32_t per_mille);

// The observation at the nearest rank. `ascending` is sorted and not empty; infinities are allowed.
double percentile_of_sorted(std::span<const double> ascending, std::uint32_t per_mille);

// The same of observations in any order.
double percentile_of(std::span<const double> values, std::uint32_t per_mille);

// Smallest n with p^n <= 0.01: below it, n observations may all lie under the true percentile with
// a probability above 1%, so that even "no violation seen" says nothing at 99%. p50 7, p90 44, p95
// 90, p99 459, p99.9 4603; 1 for the maximum, which is a fact about the sample itself.
std::uint64_t minimum_observations(std::uint32_t per_mille);

}  // namespace kvrm
