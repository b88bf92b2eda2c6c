// Intervals: that they hold the value, cover the truth as often as they say, and see the structure
// of the sample.
#include "harness/stats/bootstrap.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "harness/stats/percentile.h"

namespace kvrm {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::array<std::uint32_t, 3> kAsked = {990, 500, 900};

BlockedSample blocked(const std::vector<std::vector<double>>& repeats) {
  BlockedSample sample;
  std::uint32_t first = 0;
  for (const auto& repeat : repeats) {
    const std::uint32_t blocks = block_count(repeat.size());
    for (std::size_t i = 0; i < repeat.size(); ++i) {
      const auto block = static_cast<std::uint32_t>(i * blocks / repeat.size());
      sample.values.push_back({repeat[i], first + block, 1});
    }
    sample.repeat_blocks.push_back(blocks);
    first += blocks;
  }
  std::sort(sample.values.begin(), sample.values.end(),
            [](const auto& a, const auto& b) { return a.value < b.value; });
  return sample;
}

RC_GTEST_PROP(Bootstrap, IntervalsHoldTheValueAndRepeat, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto sizes = *rc::gen::nonEmpty(
      rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(1, 60)));
  RandomStream values(seed, "values");
  std::vector<std::vector<double>> repeats;
  std::vector<double> all;
  for (const std::size_t size : sizes) {
    repeats.emplace_back();
    for (std::size_t i = 0; i < size; ++i) {
      repeats.back().push_back(values.uniform() < 0.05 ? kInfinity : values.exponential(3));
      all.push_back(repeats.back().back());
    }
  }
  const BlockedSample sample = blocked(repeats);
  RandomStream stream(seed, "bootstrap");
  RandomStream again(seed, "bootstrap");
  const auto intervals = bootstrap_percentiles(sample, kAsked, stream);
  const auto repeated = bootstrap_percentiles(sample, kAsked, again);
  for (std::size_t i = 0; i < kAsked.size(); ++i) {
    const double value = percentile_of(all, kAsked[i]);
    RC_ASSERT(weighted_percentile(sample, kAsked[i]) == value);
    RC_ASSERT(intervals[i].low <= value && value <= intervals[i].high);
    RC_ASSERT(intervals[i].low == repeated[i].low && intervals[i].high == repeated[i].high);
  }
}

TEST(Bootstrap, CoversTheTrueMedianAboutAsOftenAsItSays) {
  constexpr int kSamples = 200;
  RandomStream stream(11, "coverage");
  int covered = 0;
  for (int i = 0; i < kSamples; ++i) {
    std::vector<double> run;
    for (int j = 0; j < 400; ++j) run.push_back(stream.exponential(1));
    const auto interval = bootstrap_percentiles(blocked({run}), std::array{500U}, stream)[0];
    covered += interval.low <= std::log(2.0) && std::log(2.0) <= interval.high ? 1 : 0;
  }
  EXPECT_GE(covered, kSamples * 88 / 100);
  EXPECT_LE(covered, kSamples * 99 / 100);
}

TEST(Bootstrap, RepeatsThatDifferWidenTheInterval) {
  RandomStream stream(12, "levels");
  std::vector<std::vector<double>> alike(8);
  std::vector<std::vector<double>> apart(8);
  for (std::size_t repeat = 0; repeat < 8; ++repeat) {
    for (int j = 0; j < 200; ++j) {
      const double value = stream.uniform();
      alike[repeat].push_back(10 + value);
      apart[repeat].push_back(10 + value + static_cast<double>(repeat));
    }
  }
  const auto width = [&](const auto& repeats) {
    const Interval i = bootstrap_percentiles(blocked(repeats), std::array{500U}, stream)[0];
    return i.high - i.low;
  };
  EXPECT_GT(width(apart), 5 * width(alike));
}

TEST(Bootstrap, NeighboursThatHangTogetherWidenTheInterval) {
  RandomStream stream(13, "correlated");
  std::vector<double> independent;
  std::vector<double> correlated;
  double level = 0;
  for (int i = 0; i < 3600; ++i) {
    if (i % 60 == 0) level = stream.normal();
    independent.push_back(10 + stream.normal());
    correlated.push_back(10 + level);
  }
  const auto width = [&](const std::vector<double>& run) {
    const Interval i = bootstrap_percentiles(blocked({run}), std::array{500U}, stream)[0];
    return i.high - i.low;
  };
  EXPECT_GT(width(correlated), 3 * width(independent));
}

TEST(Bootstrap, WeightsCountAsThatManyValues) {
  const BlockedSample sample = {{{1, 0, 98}, {5, 0, 2}}, {1}};
  EXPECT_EQ(weighted_percentile(sample, 980), 1);
  EXPECT_EQ(weighted_percentile(sample, 981), 5);
}

// However the values are pooled and cut into chunks, a replicate has the same percentiles.
TEST(Bootstrap, IntervalsDoNotDependOnHowEqualValuesArePooled) {
  RandomStream values(21, "pooled");
  for (int i = 0; i < 20; ++i) {
    BlockedSample pooled;
    BlockedSample single;
    pooled.repeat_blocks = single.repeat_blocks = {3, 2, 4};
    for (int value = 0; value < 40; ++value) {
      const auto block = static_cast<std::uint32_t>(values.below(9));
      const std::uint64_t weight = 1 + values.below(30);
      pooled.values.push_back({double(value), block, weight});
      single.values.insert(single.values.end(), weight, {double(value), block, 1});
    }
    RandomStream stream(i, "bootstrap");
    RandomStream again(i, "bootstrap");
    const auto expected = bootstrap_percentiles(single, kAsked, stream);
    const auto actual = bootstrap_percentiles(pooled, kAsked, again);
    for (std::size_t p = 0; p < kAsked.size(); ++p) {
      EXPECT_EQ(actual[p].low, expected[p].low);
      EXPECT_EQ(actual[p].high, expected[p].high);
    }
  }
}

TEST(Bootstrap, RatesCoverTheTruthAndCollapseWithoutVariation) {
  RandomStream stream(14, "rates");
  int covered = 0;
  for (int i = 0; i < 200; ++i) {
    std::vector<BlockSums> blocks;
    for (int j = 0; j < 40; ++j) blocks.push_back({50 + 10 * stream.normal(), 2});
    const Interval interval = bootstrap_rate(blocks, std::array{40U}, stream);
    covered += interval.low <= 25 && 25 <= interval.high ? 1 : 0;
  }
  EXPECT_GE(covered, 176);
  EXPECT_LE(covered, 199);
  const std::vector<BlockSums> equal(10, BlockSums{6, 2});
  const Interval none = bootstrap_rate(equal, std::array{5U, 5U}, stream);
  EXPECT_EQ(none.low, 3);
  EXPECT_EQ(none.high, 3);
}

TEST(PairedRatio, CancelsWhatTheRepeatsShare) {
  RandomStream stream(15, "pairs");
  std::vector<double> fast;
  std::vector<double> slow;
  for (int i = 0; i < 10; ++i) {
    const double machine = std::exp(stream.normal());  // the machine's own mood, shared by a pair
    fast.push_back(machine);
    slow.push_back(2 * machine * std::exp(0.01 * stream.normal()));
  }
  const auto ratio = paired_ratio(slow, fast, stream);
  ASSERT_TRUE(ratio.has_value());
  EXPECT_NEAR(ratio->value, 2, 0.03);
  EXPECT_GT(ratio->low, 1.95);
  EXPECT_LT(ratio->high, 2.05);
  EXPECT_LT(ratio->low, ratio->high);
}

TEST(PairedRatio, OnePairHasNoInterval) {
  RandomStream stream(16, "one");
  const auto ratio = paired_ratio(std::array{6.0}, std::array{4.0}, stream);
  ASSERT_TRUE(ratio.has_value());
  EXPECT_DOUBLE_EQ(ratio->value, 1.5);
  EXPECT_EQ(ratio->low, ratio->value);
  EXPECT_EQ(ratio->high, ratio->value);
}

TEST(PairedRatio, InfinityCarriesThroughAndTheUndefinedIsEmpty) {
  RandomStream stream(17, "edges");
  EXPECT_EQ(paired_ratio(std::array{kInfinity, 1.0}, std::array{1.0, 1.0}, stream)->value,
            kInfinity);
  EXPECT_EQ(paired_ratio(std::array{1.0}, std::array{kInfinity}, stream)->value, 0);
  EXPECT_FALSE(paired_ratio(std::array{kInfinity}, std::array{kInfinity}, stream).has_value());
  EXPECT_FALSE(paired_ratio(std::array{0.0, 1.0}, std::array{0.0, 1.0}, stream).has_value());
  EXPECT_FALSE(paired_ratio({}, {}, stream).has_value());
}

RC_GTEST_PROP(PairedRatio, SwappingTheSidesInvertsTheValue, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto pairs = *rc::gen::inRange<std::size_t>(1, 20);
  RandomStream stream(seed, "swap");
  std::vector<double> a;
  std::vector<double> b;
  for (std::size_t i = 0; i < pairs; ++i) {
    a.push_back(stream.lognormal(0, 1));
    b.push_back(stream.lognormal(0, 1));
  }
  const auto forward = *paired_ratio(a, b, stream);
  const auto backward = *paired_ratio(b, a, stream);
  RC_ASSERT(std::abs(forward.value * backward.value - 1) < 1e-9);
  RC_ASSERT(forward.low <= forward.value && forward.value <= forward.high);
}

}  // namespace
}  // namespace kvrm
