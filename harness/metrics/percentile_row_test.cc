// Pooling over repeats, and the histogram path against the exact one.
#include "harness/metrics/percentile_row.h"

#include <gtest/gtest.h>

#include <cmath>

#include "harness/base/prng.h"

namespace kvrm {
namespace {

SampleSeries random_series(RandomStream& stream, std::uint32_t units, int values_per_unit) {
  SampleSeries series;
  for (; series.units < units; ++series.units) {
    const double ms = stream.lognormal(1, 0.5);
    for (int i = 0; i < values_per_unit; ++i) series.values.push_back({ms, series.units});
  }
  return series;
}

TEST(PooledRow, RepeatsPoolIntoOneSample) {
  SampleSeries fast;
  SampleSeries slow;
  for (std::uint32_t i = 0; i < 30; ++i) {
    fast.values.push_back({1, fast.units++});
    if (i < 20) slow.values.push_back({9, slow.units++});
  }
  const PooledRow pooled = pooled_row(std::vector<const SampleSeries*>{&fast, &slow}, {});
  EXPECT_EQ(pooled.row.at("p50")->value, 1);
  EXPECT_EQ(pooled.row.at("p90")->value, 9);
  EXPECT_EQ(pooled.row.at("p50")->low, 1);
  EXPECT_EQ(pooled.row.at("p50")->high, 9);  // two repeats that disagree: the interval says so
}

TEST(PooledRow, HistogramAgreesWithExactWithinATenthOfAPercent) {
  RandomStream stream(31, "row");
  const SampleSeries a = random_series(stream, 3000, 4);
  const SampleSeries b = random_series(stream, 3000, 4);
  const std::vector<const SampleSeries*> repeats = {&a, &b};
  const PooledRow exact = pooled_row(repeats, {.exact_limit = 24'000, .purpose = "x"});
  const PooledRow approximate = pooled_row(repeats, {.exact_limit = 23'999, .purpose = "x"});
  EXPECT_FALSE(exact.from_histogram);
  EXPECT_TRUE(approximate.from_histogram);
  for (const auto& [name, entry] : exact.row) {
    ASSERT_TRUE(entry.has_value()) << name;
    const Estimate& other = *approximate.row.at(name);
    EXPECT_LE(std::abs(other.value - entry->value), 0.001 * entry->value) << name;
    EXPECT_LE(std::abs(other.low - entry->low), 0.001 * entry->low) << name;
    EXPECT_LE(std::abs(other.high - entry->high), 0.001 * entry->high) << name;
  }
  EXPECT_LT(exact.row.at("p99")->low, exact.row.at("p99")->high);
}

TEST(PooledRow, TheMaximumHasNoInterval) {
  RandomStream stream(32, "max");
  const SampleSeries series = random_series(stream, 500, 1);
  const PooledRow pooled = pooled_row(std::vector<const SampleSeries*>{&series}, {});
  EXPECT_EQ(pooled.row.at("max")->low, pooled.row.at("max")->value);
  EXPECT_EQ(pooled.row.at("max")->high, pooled.row.at("max")->value);
}

}  // namespace
}  // namespace kvrm
