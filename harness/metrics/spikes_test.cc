// Spikes against the shared reference, and burst windows.
#include "harness/metrics/spikes.h"

#include <gtest/gtest.h>

#include "harness/metrics/fake_log.h"
#include "harness/metrics/summarise.h"

namespace kvrm {
namespace {

// 1,000 s of trace with one request a second, and nine more in each of the seconds 100, 200, ...
EventLog bursty_log(Nanoseconds gap, std::uint32_t seconds = 1000) {
  const Nanoseconds second = kNanosecondsPerSecond;
  EventLog log = fake_log(
      {.requests = seconds, .output_tokens = 3, .arrival_gap = second, .ttft = kMs, .gap = gap});
  for (Nanoseconds burst = 0; burst < seconds / 100; ++burst) {
    for (int i = 0; i < 9; ++i) {
      RequestRecord extra = log.requests[static_cast<std::size_t>(100 * burst)];
      extra.id = log.requests.size();
      log.requests.push_back(extra);
    }
  }
  return log;
}

EngineSpec early_exit_spec() {
  EngineSpec spec{.kind = "static", .label = "static_exit", .options = {}, .budget = {}};
  spec.options.attention = StaticAttention::early_exit;
  return spec;
}

TEST(BurstSeconds, AreTheBusiestPercentOfTraceTime) {
  const auto bursts = burst_seconds(bursty_log(kMs), 1);
  ASSERT_EQ(bursts.size(), 10U);
  EXPECT_TRUE(bursts.contains(0));
  EXPECT_TRUE(bursts.contains(900));
  EXPECT_TRUE(burst_seconds(bursty_log(kMs, 99), 1).empty());
  // At a tenth of its speed the same run is a tenth of the trace time.
  EXPECT_EQ(burst_seconds(bursty_log(kMs), 10).size(), 1U);
}

TEST(Spikes, CountAboveTheReferenceOfTheSameRepeatInsideAndOutsideBursts) {
  EventLog log = bursty_log(2 * kMs);
  log.gaps[0].gap = 11 * kMs;        // second 0, a burst
  log.gaps[2 * 500].gap = 11 * kMs;  // second 500, a burst
  log.gaps[2 * 550].gap = 11 * kMs;  // outside
  log.gaps[2 * 551].gap = 10 * kMs;  // five times the median is not above it
  // 1.9 s long and ending in second 901, so that it overlaps the burst of second 900.
  log.gaps[2 * 901].gap = 1900 * kMs;
  const SpikeMetrics spikes =
      count_spikes(fake_point(), std::vector<EventLog>{log}, ReferenceMedians{{0, 2.0}});
  EXPECT_DOUBLE_EQ(*spikes.threshold_ms, 10);
  EXPECT_EQ(spikes.burst_windows, 10U);
  EXPECT_EQ(spikes.in_bursts, 3U);
  EXPECT_EQ(spikes.outside, 1U);
  EXPECT_EQ(spikes.total, 4U);
}

TEST(Spikes, EachRepeatHasItsOwnThreshold) {
  EventLog first = bursty_log(2 * kMs);
  EventLog second = first;
  second.repeat = 1;
  first.gaps[1].gap = second.gaps[1].gap = 12 * kMs;
  const std::vector<EventLog> logs = {first, second};
  EXPECT_EQ(count_spikes(fake_point(), logs, {{0, 2.0}, {1, 3.0}}).total, 1U);
  EXPECT_EQ(count_spikes(fake_point(), logs, {{0, 2.0}, {1, 2.0}}).total, 2U);
  const SpikeMetrics lacking = count_spikes(fake_point(), logs, {{0, 2.0}});
  EXPECT_FALSE(lacking.threshold_ms.has_value());
  EXPECT_FALSE(lacking.total.has_value());
}

TEST(Spikes, FewBurstWindowsOrAClosedLoopAreNotAvailable) {
  const std::vector<EventLog> few = {bursty_log(2 * kMs, 900)};
  const SpikeMetrics short_trace = count_spikes(fake_point(), few, {{0, 0.1}});
  EXPECT_EQ(short_trace.burst_windows, 9U);
  EXPECT_FALSE(short_trace.in_bursts.has_value());
  EXPECT_FALSE(short_trace.outside.has_value());
  EXPECT_EQ(short_trace.total, 1800U);
  ExperimentPoint closed = fake_point();
  closed.workload.arrivals.kind = ArrivalSpec::Kind::closed;
  const std::vector<EventLog> enough = {bursty_log(2 * kMs)};
  EXPECT_EQ(count_spikes(closed, enough, {{0, 0.1}}).burst_windows, 0U);
}

TEST(Spikes, TheReferenceIsStaticEarlyExitForEveryEngine) {
  ExperimentPoint point = fake_point();
  EngineSpec full = early_exit_spec();
  full.label = "static_full";
  full.options.attention = StaticAttention::full;
  point.engines = {
      full, early_exit_spec(), {.kind = "kvrm", .label = "kvrm", .options = {}, .budget = {}}};
  const std::vector<std::vector<EventLog>> logs = {
      {bursty_log(50 * kMs)}, {bursty_log(2 * kMs)}, {bursty_log(11 * kMs)}};
  std::vector<EngineResult> engines = {fake_engine("static_full"), fake_engine("static_exit"),
                                       fake_engine("kvrm")};
  summarise_point(point, engines, logs);
  for (const EngineResult& engine : engines) {
    EXPECT_DOUBLE_EQ(*engine.metrics->spikes.threshold_ms, 10) << engine.info.label;
  }
  EXPECT_EQ(engines[1].metrics->spikes.total, 0U);
  EXPECT_EQ(engines[2].metrics->spikes.total, 2000U);

  engines[1] = fake_engine("static_exit", RunStatus::incorrect);
  engines[2] = fake_engine("kvrm");
  engines[0] = fake_engine("static_full");
  summarise_point(point, engines, logs);
  EXPECT_FALSE(engines[2].metrics->spikes.threshold_ms.has_value());
}

}  // namespace
}  // namespace kvrm
