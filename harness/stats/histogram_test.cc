// The histogram against exact percentiles of the same values.
#include "harness/stats/histogram.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "harness/base/prng.h"
#include "harness/stats/percentile.h"

namespace kvrm {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(LogLinearHistogram, EveryValueComesBackWithinATenthOfAPercent) {
  RandomStream stream(1, "histogram");
  for (int i = 0; i < 200'000; ++i) {
    const double value = std::exp(60 * stream.uniform() - 30);
    const double back = log_linear_midpoint(log_linear_bucket(value));
    ASSERT_LE(std::abs(back - value), 0.001 * value) << value;
  }
  EXPECT_EQ(log_linear_midpoint(log_linear_bucket(0)), 0);
  EXPECT_EQ(log_linear_midpoint(log_linear_bucket(kInfinity)), kInfinity);
}

RC_GTEST_PROP(LogLinearHistogram, PercentilesAreWithinATenthOfAPercentOfTheExactOnes, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto size = *rc::gen::inRange<std::size_t>(1, 3000);
  RandomStream stream(seed, "values");
  std::vector<double> values;
  LogLinearHistogram first;
  LogLinearHistogram second;
  for (std::size_t i = 0; i < size; ++i) {
    const double value = stream.uniform() < 0.01 ? kInfinity : stream.lognormal(2, 2);
    values.push_back(value);
    (stream.uniform() < 0.5 ? first : second).add(value);
  }
  first.merge(second);
  RC_ASSERT(first.count() == size);
  for (const Percentile& percentile : kPercentiles) {
    const double exact = percentile_of(values, percentile.per_mille);
    const double approximate = first.percentile(percentile.per_mille);
    RC_ASSERT(exact == approximate || std::abs(approximate - exact) <= 0.001 * exact);
  }
}

TEST(LogLinearHistogram, CountsStandForEqualValues) {
  LogLinearHistogram histogram;
  histogram.add(1, 99);
  histogram.add(1000, 1);
  EXPECT_NEAR(histogram.percentile(990), 1, 0.001);
  EXPECT_NEAR(histogram.percentile(991), 1000, 1);
}

}  // namespace
}  // namespace kvrm
