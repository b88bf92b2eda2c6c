// The loop with overlap: exact times on a manual clock, and under any pressure the same outputs as
// without, each planned row either run or counted as wasted.
#include <gtest/gtest.h>

#include <atomic>

#include "harness/base/prng.h"
#include "harness/driver/fake_drive.h"
#include "harness/driver/host_meter.h"
#include "harness/driver/solo_run.h"

namespace kvrm {
namespace {

class OverlapTest : public FakeDrive {
 protected:
  OverlapTest() {
    script_.prepare_time = [](const StepPlan&) { return 3; };
    options_.overlap = true;
  }
};

TEST_F(OverlapTest, HostWorkIsHiddenBehindTheDevice) {
  clock_.advance(5'000);
  const EventLog log = run({fake_request(0, 100, 4, 3)});
  EXPECT_EQ(engine_->calls(), "pasas");
  ASSERT_EQ(log.steps.size(), 2U);
  EXPECT_EQ(log.steps[0].start, 140);
  EXPECT_EQ(log.steps[0].end, 147) << "the device's seven, the host's three within them";
  EXPECT_EQ(log.steps[1].end, 154);
  for (const StepRecord& step : log.steps) {
    EXPECT_EQ(step.hidden_host, 3);
    EXPECT_EQ(step.exposed_host, 0) << "waiting and prefill are not host work";
  }
  EXPECT_EQ(log.wasted_rows, 1U);
}

TEST_F(OverlapTest, WhatTakesLongerThanTheDeviceIsExposed) {
  script_.prepare_time = [](const StepPlan&) { return 10; };
  const EventLog log = run({fake_request(0, 0, 4, 2)});
  ASSERT_EQ(log.steps.size(), 1U);
  EXPECT_EQ(log.steps[0].end, 50);
  EXPECT_EQ(log.steps[0].hidden_host, 7);
  EXPECT_EQ(log.steps[0].exposed_host, 3);
}

TEST_F(OverlapTest, WithoutItNothingIsHiddenAndWorkBetweenStepsIsExposed) {
  options_.overlap = false;
  int pulls = 0;
  before_pull_ = [&] {
    if (++pulls == 2) clock_.advance(100);  // request 1 takes long to make
  };
  const EventLog log = run({fake_request(0, 0, 4, 3), fake_request(1, 1'000'000, 1, 2)});
  EXPECT_EQ(engine_->calls(), "pssps");
  ASSERT_EQ(log.steps.size(), 3U);
  for (const StepRecord& step : log.steps) EXPECT_EQ(step.hidden_host, 0);
  EXPECT_EQ(log.steps[0].exposed_host, 100);
  EXPECT_EQ(log.steps[1].exposed_host, 0);
  EXPECT_EQ(log.steps[2].exposed_host, 0);
  EXPECT_EQ(log.wasted_rows, 0U);
}

TEST(HostMeter, GapsOfTheDeviceAreExposedAndNotHidden) {
  HostMeter meter;
  meter.set_aside(20);
  // 100-200, of which 30 without work; the host launches and works until 150, then waits.
  const DeviceRun run{.begin = 100, .end = 200, .busy = 70, .concurrent = true};
  const HostTimes first = meter.step_ended(run, 150, 210);
  EXPECT_EQ(first.hidden, 150 - 100 - 30);
  EXPECT_EQ(first.exposed, 210 - 20 - 70);
  const DeviceRun alone{.begin = 220, .end = 290, .busy = 70, .concurrent = false};
  const HostTimes second = meter.step_ended(alone, 295, 300);
  EXPECT_EQ(second.hidden, 0) << "the host was the device";
  EXPECT_EQ(second.exposed, 20);
  const HostTimes third = meter.step_ended({}, 310, 310);
  EXPECT_EQ(third.hidden, 0);
  EXPECT_EQ(third.exposed, 10) << "no device at all";
}

TEST_F(OverlapTest, AHistoryAsLongAsAnyMayBeIsNotPlannedFurther) {
  options_.budget.max_len = 6;
  EXPECT_EQ(run({fake_request(0, 0, 4, 3)}).wasted_rows, 0U);
  options_.budget.max_len = 7;
  EXPECT_EQ(run({fake_request(0, 0, 4, 3)}).wasted_rows, 1U);
  script_.info.max_history_tokens = 6;
  EXPECT_EQ(run({fake_request(0, 0, 4, 3)}).wasted_rows, 0U);
}

TEST_F(OverlapTest, AnOlderSlotTakesBackWhatAYoungerOneWasGivenAhead) {
  // Blocks of four, three of them. Both grow inside their blocks; when request 0 needs its second
  // block there is none, request 1 still has a place in its own, and has to go.
  script_.block_tokens = 4;
  script_.capacity_tokens = 12;
  const std::vector<Request> requests = {fake_request(0, 0, 3, 6), fake_request(1, 0, 5, 6)};
  const EventLog log = run(requests);
  EXPECT_GT(engine_->refused_ahead(), 0U);
  EXPECT_EQ(log.preemptions, 1U);
  EXPECT_EQ(log.requests[1].preemptions, 1U);
  std::uint64_t rows = 0;
  for (const StepRecord& step : log.steps) rows += step.active_slots;
  EXPECT_EQ(engine_->extended(), rows + log.wasted_rows);
  EXPECT_GE(log.wasted_rows, 3U) << "two that ended and one that was preempted";
}

TEST_F(OverlapTest, AStopBetweenStepsGivesBackWhatWasPlanned) {
  std::atomic<bool> stop = false;
  options_.stop = &stop;
  script_.step_time = [&](const StepPlan& plan) {
    stop = plan.step == 3;
    return 7;
  };
  const EventLog log = run({fake_request(0, 0, 1, 100)});
  EXPECT_TRUE(log.interrupted);
  EXPECT_EQ(log.requests[0].output_tokens, 4U);
}

// A random workload and engine; small `capacity` preempts.
struct OverlapCase {
  explicit OverlapCase(std::uint64_t seed) {
    RandomStream random(seed, "overlap case");
    const auto between = [&](std::uint64_t low, std::uint64_t high) {
      return static_cast<std::uint32_t>(low + random.below(high - low + 1));
    };
    if (between(0, 1) == 1) script.shape = fake_shape(ModelKind::attention_only);
    script.info.slots = between(1, 8);
    script.info.max_history_tokens = between(4, 40);
    script.block_tokens = between(1, 4);
    const std::uint64_t least = round_up(script.info.max_history_tokens, script.block_tokens);
    script.capacity_tokens = least + between(0, 100);
    prefill_tokens = between(1, 30);
    loop = {.closed = between(0, 1) == 1, .concurrency = between(1, 8)};
    const std::uint32_t longest = script.info.max_history_tokens;
    for (RequestId id = 0; id < between(0, 50); ++id) {
      const std::uint32_t prompt = between(1, longest);
      requests.push_back(fake_request(id, Nanoseconds{11} * static_cast<Nanoseconds>(id), prompt,
                                      between(1, longest - prompt + 1)));
      if (between(0, 3) == 0) requests.back().stop_token = between(0, 63);
    }
  }

  struct Run {
    EventLog log;
    std::uint64_t extended = 0;
    std::uint64_t refused_ahead = 0;
    std::vector<FakeEvent> events;
  };
  Run run(bool overlap) {
    ManualClock clock;
    script.clock = &clock;
    script.prefill_time = [](const PrefillChunk& chunk) { return Nanoseconds{chunk.count}; };
    script.step_time = [](const StepPlan& plan) {
      return static_cast<Nanoseconds>(5 + plan.slots.size());
    };
    script.prepare_time = [](const StepPlan& plan) {
      return static_cast<Nanoseconds>(plan.step * 7 % 16);
    };
    DriveOptions options = fake_options(script);
    options.budget.prefill_tokens = prefill_tokens;
    options.overlap = overlap;
    FakeEngine engine(script);
    ListStream stream(requests);
    Result<EventLog> log = drive(engine, stream, loop, options, clock);
    EXPECT_TRUE(log.has_value());
    EXPECT_EQ(engine.used_tokens(), 0U);
    return {std::move(*log), engine.extended(), engine.refused_ahead(), engine.events()};
  }

  FakeScript script;
  std::uint32_t prefill_tokens = 1;
  LoopMode loop;
  std::vector<Request> requests;
};

void expect_conserved(const OverlapCase& setup, const OverlapCase::Run& run) {
  ASSERT_EQ(run.log.requests.size(), setup.requests.size());
  for (const RequestRecord& record : run.log.requests) {
    const Request& request = setup.requests[record.id];
    ASSERT_EQ(record.state, RequestState::finished) << record.id;
    if (request.stop_token == kNoToken || setup.script.shape.kind != ModelKind::decoder) {
      ASSERT_EQ(record.output_tokens, request.output_tokens) << record.id;
    }
    FakeEngine alone(FakeScript{.shape = setup.script.shape});
    ASSERT_EQ(run_alone(alone, request, setup.script.shape, 7).chain, record.output_digest)
        << record.id;
  }
  std::uint64_t rows = 0;
  for (const StepRecord& step : run.log.steps) {
    rows += step.active_slots;
    ASSERT_GE(step.hidden_host, 0);
    ASSERT_GE(step.exposed_host, 0);
  }
  ASSERT_EQ(run.extended, rows + run.log.wasted_rows);
}

TEST(OverlapProperty, OutputsAreTheSameAndNoPlannedRowIsLost) {
  std::uint64_t preemptions = 0;
  std::uint64_t refused_ahead = 0;
  std::uint64_t wasted = 0;
  std::uint64_t hidden = 0;
  for (std::uint64_t seed = 0; seed < 400 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    OverlapCase setup(seed);
    const OverlapCase::Run plain = setup.run(false);
    const OverlapCase::Run overlapped = setup.run(true);
    expect_conserved(setup, plain);
    expect_conserved(setup, overlapped);
    EXPECT_EQ(plain.log.output_digest, overlapped.log.output_digest);
    EXPECT_EQ(plain.log.wasted_rows, 0U);
    EXPECT_EQ(plain.refused_ahead, 0U);
    preemptions += overlapped.log.preemptions;
    refused_ahead += overlapped.refused_ahead;
    wasted += overlapped.log.wasted_rows;
    for (const StepRecord& step : overlapped.log.steps) {
      hidden += static_cast<std::uint64_t>(step.hidden_host);
    }
  }
  EXPECT_GT(preemptions, 100U);
  EXPECT_GT(refused_ahead, 100U);
  EXPECT_GT(wasted, 1000U);
  EXPECT_GT(hidden, 10'000U);
}

// With memory for all, and arrivals that do not depend on how long a step takes, the schedule is
// the same step by step.
TEST(OverlapProperty, WithRoomForAllTheScheduleIsTheSame) {
  std::uint64_t steps = 0;
  for (std::uint64_t seed = 1000; seed < 1100 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    OverlapCase setup(seed);
    setup.script.capacity_tokens = 1 << 20;
    setup.loop.closed = true;
    const OverlapCase::Run plain = setup.run(false);
    const OverlapCase::Run overlapped = setup.run(true);
    EXPECT_EQ(plain.events, overlapped.events);
    ASSERT_EQ(plain.log.steps.size(), overlapped.log.steps.size());
    for (std::size_t i = 0; i < plain.log.steps.size(); ++i) {
      EXPECT_EQ(plain.log.steps[i].active_slots, overlapped.log.steps[i].active_slots);
      EXPECT_EQ(plain.log.steps[i].waiting_requests, overlapped.log.steps[i].waiting_requests);
      EXPECT_EQ(plain.log.steps[i].prefill_tokens, overlapped.log.steps[i].prefill_tokens);
    }
    steps += plain.log.steps.size();
  }
  EXPECT_GT(steps, 1000U);
}

}  // namespace
}  // namespace kvrm
