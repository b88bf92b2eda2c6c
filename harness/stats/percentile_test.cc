// Percentiles against a direct count, and the minimum numbers of observations.
#include "harness/stats/percentile.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace kvrm {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Percentile, MinimumObservationsAreThoseOfTheDesign) {
  EXPECT_EQ(minimum_observations(500), 7U);
  EXPECT_EQ(minimum_observations(900), 44U);
  EXPECT_EQ(minimum_observations(950), 90U);
  EXPECT_EQ(minimum_observations(990), 459U);
  EXPECT_EQ(minimum_observations(999), 4603U);
  EXPECT_EQ(minimum_observations(1000), 1U);
  EXPECT_EQ(minimum_observations(100), 2U);  // 0.1^2 = 0.01 is a tie, not a miss
}

RC_GTEST_PROP(Percentile, MinimumIsTheSmallestThatHolds, ()) {
  const auto per_mille = *rc::gen::inRange<std::uint32_t>(200, 1000);
  const std::uint64_t n = minimum_observations(per_mille);
  const double p = per_mille / 1000.0;
  RC_ASSERT(std::pow(p, static_cast<double>(n)) <= 0.01 * (1 + 1e-9));
  RC_ASSERT(std::pow(p, static_cast<double>(n - 1)) > 0.01);
}

TEST(Percentile, RanksAreExactWhereFloatingPointIsNot) {
  EXPECT_EQ(nearest_rank(1000, 999), 999U);
  EXPECT_EQ(nearest_rank(1001, 999), 1000U);
  EXPECT_EQ(nearest_rank(100, 990), 99U);
  EXPECT_EQ(nearest_rank(1, 0), 1U);
  EXPECT_EQ(nearest_rank(10'000'000'000ULL, 999), 9'990'000'000ULL);
}

// Smallest value with at least per_mille/1000 of all observations at or below it.
RC_GTEST_PROP(Percentile, IsTheSmallestValueThatCoversTheShare, ()) {
  auto values = *rc::gen::nonEmpty(
      rc::gen::container<std::vector<double>>(rc::gen::map(rc::gen::inRange(0, 40), [](int v) {
        return v >= 35 ? kInfinity : static_cast<double>(v);
      })));
  const auto per_mille = *rc::gen::inRange<std::uint32_t>(1, 1001);
  const double found = percentile_of(values, per_mille);
  const auto share = [&](auto covered) {
    return 1000 * static_cast<std::uint64_t>(std::count_if(values.begin(), values.end(), covered));
  };
  RC_ASSERT(share([&](double v) { return v <= found; }) >= per_mille * values.size());
  RC_ASSERT(share([&](double v) { return v < found; }) < per_mille * values.size());
  std::sort(values.begin(), values.end());
  RC_ASSERT(percentile_of_sorted(values, per_mille) == found);
}

}  // namespace
}  // namespace kvrm
