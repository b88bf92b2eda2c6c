// Which pairs and metrics are compared, and that repeats are paired by their number.
#include "harness/metrics/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "harness/metrics/fake_log.h"
#include "harness/metrics/summarise.h"

namespace kvrm {
namespace {

// Repeat r of every engine runs on a machine that is (r + 1) times as slow.
std::vector<EventLog> repeats(Nanoseconds gap, std::uint32_t requests, bool reversed = false) {
  std::vector<EventLog> logs;
  for (std::uint32_t i = 0; i < 4; ++i) {
    const std::uint32_t repeat = reversed ? 3 - i : i;
    const Nanoseconds slowness = repeat + 1;
    logs.push_back(fake_log({.requests = requests,
                             .arrival_gap = 1000 * kMs,
                             .ttft = 3 * slowness * kMs,
                             .gap = slowness * gap,
                             .repeat = repeat}));
  }
  return logs;
}

const Comparison* find(const std::vector<Comparison>& all, const std::string& engine,
                       const std::string& baseline, const std::string& metric) {
  for (const Comparison& one : all) {
    if (one.engine == engine && one.baseline == baseline && one.metric == metric) return &one;
  }
  return nullptr;
}

TEST(Compare, PairsByRepeatNumberNotByOrder) {
  std::vector<EngineResult> engines = {fake_engine("kvrm"), fake_engine("static")};
  std::vector<std::vector<EventLog>> logs = {repeats(2 * kMs, 10), repeats(4 * kMs, 10, true)};
  logs[1].pop_back();  // repeat 0 of static is missing: three pairs are left
  logs[1].push_back(fake_log({.requests = 10, .gap = 900 * kMs, .repeat = 9}));
  for (EventLog& log : logs[0]) log.end_usage.memory.reserved_bytes = 300;
  for (EventLog& log : logs[1]) log.end_usage.memory.reserved_bytes = 1200;
  const auto comparisons = summarise_point(fake_point(), engines, logs);
  const Comparison* itl = find(comparisons, "kvrm", "static", "itl_ms.p50");
  ASSERT_NE(itl, nullptr);
  // Every pair has exactly this ratio, so there is nothing to resample.
  EXPECT_NEAR(itl->ratio.value, 0.5, 1e-12);
  EXPECT_NEAR(itl->ratio.low, 0.5, 1e-12);
  EXPECT_NEAR(itl->ratio.high, 0.5, 1e-12);
  const Comparison* back = find(comparisons, "static", "kvrm", "itl_ms.p50");
  ASSERT_NE(back, nullptr);
  EXPECT_NEAR(back->ratio.value, 2, 1e-12);
  EXPECT_NEAR(find(comparisons, "kvrm", "static", "reserved_bytes_peak")->ratio.value, 0.25, 1e-12);
  EXPECT_NEAR(find(comparisons, "kvrm", "static", "ttft_ms.p50")->ratio.value, 1, 1e-12);
}

TEST(Compare, OnlyEnginesWithMetricsAndPercentilesThatBothHave) {
  std::vector<EngineResult> engines = {fake_engine("kvrm"), fake_engine("static"),
                                       fake_engine("paged", RunStatus::incorrect)};
  const std::vector<std::vector<EventLog>> logs = {repeats(2 * kMs, 120), repeats(2 * kMs, 114),
                                                   repeats(2 * kMs, 120)};
  const auto comparisons = summarise_point(fake_point(), engines, logs);
  std::set<std::string> metrics;
  for (const Comparison& one : comparisons) {
    EXPECT_NE(one.engine, "paged");
    EXPECT_NE(one.baseline, "paged");
    EXPECT_NE(one.engine, one.baseline);
    if (one.engine == "kvrm") metrics.insert(one.metric);
  }
  // 480 and 456 requests: the second has no p99 of requests, but its 1368 steps have one.
  EXPECT_EQ(metrics,
            (std::set<std::string>{"output_tokens_per_s", "ttft_ms.p50", "itl_ms.p50", "itl_ms.p99",
                                   "tpot_ms.p50", "e2e_ms.p50", "step_ms.p50", "step_ms.p99"}));
}

TEST(Compare, OnePairHasNoIntervalAndTwoDifferentPairsHave) {
  std::vector<EngineResult> engines = {fake_engine("a"), fake_engine("b")};
  const auto run = [](Nanoseconds gap, std::uint32_t repeat) {
    return fake_log({.requests = 10, .gap = gap, .repeat = repeat});
  };
  const std::vector<std::vector<EventLog>> single = {{run(2 * kMs, 0)}, {run(kMs, 0)}};
  const auto one = summarise_point(fake_point(), engines, single);
  const Estimate ratio = find(one, "a", "b", "itl_ms.p50")->ratio;
  EXPECT_DOUBLE_EQ(ratio.value, 2);
  EXPECT_EQ(ratio.low, ratio.value);
  EXPECT_EQ(ratio.high, ratio.value);

  engines = {fake_engine("a"), fake_engine("b")};
  const std::vector<std::vector<EventLog>> twice = {{run(2 * kMs, 0), run(8 * kMs, 1)},
                                                    {run(kMs, 0), run(kMs, 1)}};
  const auto two = summarise_point(fake_point(), engines, twice);
  const Estimate spread = find(two, "a", "b", "itl_ms.p50")->ratio;
  EXPECT_NEAR(spread.value, 4, 1e-12);  // geometric mean of 2 and 8
  EXPECT_NEAR(spread.low, 2, 1e-12);
  EXPECT_NEAR(spread.high, 8, 1e-12);
}

}  // namespace
}  // namespace kvrm
