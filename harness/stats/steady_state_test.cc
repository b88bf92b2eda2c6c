// The steady-state test: how often it cries wolf, what it must catch; and the dispersion helpers.
#include "harness/stats/steady_state.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "harness/base/prng.h"
#include "harness/stats/dispersion.h"

namespace kvrm {
namespace {

std::vector<double> noisy(RandomStream& stream, int size, double drift) {
  std::vector<double> series;
  for (int i = 0; i < size; ++i) {
    series.push_back((10 + stream.exponential(2)) * (1 + drift * i / size));
  }
  return series;
}

TEST(SteadyState, StationaryNoiseSeldomFails) {
  RandomStream stream(21, "steady");
  int steady = 0;
  for (int i = 0; i < 200; ++i) steady += is_steady(noisy(stream, 60, 0)) ? 1 : 0;
  EXPECT_GE(steady, 194);
}

TEST(SteadyState, DriftIsCaught) {
  RandomStream stream(22, "drift");
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(is_steady(noisy(stream, 1000, 0.3)));
}

TEST(SteadyState, DriftBelowTheToleranceIsNot) {
  RandomStream stream(23, "small");
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(is_steady(noisy(stream, 20'000, 0.04)));
}

TEST(SteadyState, TooFewValuesShowNothing) {
  EXPECT_FALSE(is_steady(std::vector<double>(kSteadyBatches - 1, 1.0)));
  EXPECT_TRUE(is_steady(std::vector<double>(kSteadyBatches, 1.0)));
}

TEST(Dispersion, KnownSamples) {
  constexpr std::array<double, 4> kValues = {2, 4, 4, 6};
  EXPECT_DOUBLE_EQ(mean_of(kValues), 4);
  EXPECT_DOUBLE_EQ(variance_of(kValues), 8.0 / 3);
  EXPECT_DOUBLE_EQ(index_of_dispersion(kValues), 2.0 / 3);
  EXPECT_DOUBLE_EQ(coefficient_of_variation(std::array{1.0, 3.0}), 0.7071067811865476);
  EXPECT_EQ(mean_of({}), 0);
  EXPECT_EQ(variance_of(std::array{3.0}), 0);
}

}  // namespace
}  // namespace kvrm
