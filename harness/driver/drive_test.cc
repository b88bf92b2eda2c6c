// The loop on a manual clock with a scripted engine: every time and every count comes out exactly.
#include "harness/driver/drive.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "harness/driver/fake_drive.h"
#include "harness/driver/solo_run.h"

namespace kvrm {
namespace {

class DriveTest : public FakeDrive {};

TEST_F(DriveTest, TimesComeOutOfTheScript) {
  clock_.advance(5'000);  // the log's zero is the run's start, whatever the clock says
  options_.budget.prefill_tokens = 3;
  const EventLog log = run({fake_request(0, 100, 4, 3), fake_request(1, 120, 2, 2)});

  // 100-130 three positions of request 0; 130-140 its last, 140-160 request 1; steps end at 167
  // and 174. Request 1 arrives inside the first chunk, which is no fault of the generator's.
  const RequestRecord& first = log.requests[0];
  EXPECT_EQ(first.intended_arrival, 100);
  EXPECT_EQ(first.enqueued, 100);
  EXPECT_EQ(first.admitted, 100);
  EXPECT_EQ(first.first_token, 140);
  EXPECT_EQ(first.finished, 174);
  const RequestRecord& second = log.requests[1];
  EXPECT_EQ(second.enqueued, 120);
  EXPECT_EQ(second.admitted, 140);
  EXPECT_EQ(second.first_token, 160);
  EXPECT_EQ(second.finished, 167);

  ASSERT_EQ(log.gaps.size(), 3U);
  EXPECT_EQ(log.gaps[0].gap, 27);
  EXPECT_EQ(log.gaps[1].gap, 7);
  EXPECT_EQ(log.gaps[1].request, 1U);
  EXPECT_EQ(log.gaps[2].gap, 7);
  EXPECT_EQ(log.gaps[2].step, 1U);

  ASSERT_EQ(log.steps.size(), 2U);
  EXPECT_EQ(log.steps[0].start, 160);
  EXPECT_EQ(log.steps[0].end, 167);
  EXPECT_EQ(log.steps[0].active_slots, 2U);
  EXPECT_EQ(log.steps[0].prefill_tokens, 6U);
  EXPECT_EQ(log.steps[0].prefill, 60);
  EXPECT_EQ(log.steps[1].active_slots, 1U);
  EXPECT_EQ(log.steps[1].prefill_tokens, 0U);
  EXPECT_EQ(log.duration, 174);
}

TEST_F(DriveTest, DecodingGoesOnBetweenPrefillChunks) {
  options_.budget.prefill_tokens = 4;
  run({fake_request(0, 0, 4, 8), fake_request(1, 0, 12, 1)});
  EXPECT_EQ(engine_->calls(), "pspspspssss");
}

TEST_F(DriveTest, LatencyThroughAStallCountsFromTheIntendedArrival) {
  script_.step_time = [](const StepPlan& plan) {
    return plan.step == 1 ? kNanosecondsPerSecond : Nanoseconds{7};
  };
  // Ten requests arrive while the first step hangs for a second; a driver that measured from the
  // moment it sent them would call them all fast.
  std::vector<Request> requests = {fake_request(0, 0, 1, 2)};
  for (RequestId id = 1; id <= 10; ++id) {
    requests.push_back(fake_request(id, Nanoseconds(id) * 1'000'000, 1, 1));
  }
  const EventLog log = run(std::move(requests));
  for (std::size_t i = 1; i < log.requests.size(); ++i) {
    const RequestRecord& record = log.requests[i];
    EXPECT_EQ(record.intended_arrival, static_cast<Nanoseconds>(i) * 1'000'000);
    EXPECT_GT(record.first_token - record.intended_arrival, 989'000'000);
    EXPECT_EQ(record.enqueued, record.intended_arrival);
    EXPECT_GT(record.admitted, kNanosecondsPerSecond);
  }
}

TEST_F(DriveTest, ALateGeneratorIsSeen) {
  int pulls = 0;
  before_pull_ = [&] {
    if (++pulls == 2) clock_.advance(100);  // request 1 takes long to make
  };
  const EventLog log = run({fake_request(0, 10, 4, 1), fake_request(1, 20, 1, 1)});
  EXPECT_EQ(log.requests[0].enqueued, 10);
  // Made at 110; then the engine prefilled request 0 until 150, which is not the generator's time.
  EXPECT_EQ(log.requests[1].enqueued, 110);
  EXPECT_EQ(log.requests[1].admitted, 150);
}

TEST_F(DriveTest, EveryStepCountsItsOwnGroups) {
  const EventLog log =
      run({fake_request(0, 0, 2, 4), fake_request(1, 0, 3, 6), fake_request(2, 50, 1, 3)});
  ASSERT_GT(log.steps.size(), 3U);
  for (const StepRecord& step : log.steps) EXPECT_EQ(step.groups, step.active_slots);
}

TEST_F(DriveTest, TheYoungestIsPreemptedAndItsHistoryRecomputed) {
  options_.keep_output_tokens = true;
  const std::vector<Request> requests = {fake_request(0, 0, 2, 4), fake_request(1, 0, 2, 4)};
  const EventLog roomy = run(requests);
  script_.capacity_tokens = 7;
  const EventLog tight = run(requests);

  const std::vector<FakeEvent> expected = {{true, 0},  {true, 1}, {false, 1},
                                           {false, 0}, {true, 1}, {false, 1}};
  EXPECT_EQ(engine_->events(), expected);
  // Request 1 had two prompt positions and one output position computed when it had to go.
  EXPECT_EQ(tight.requests[1].preemptions, 1U);
  EXPECT_EQ(tight.requests[1].recomputed_tokens, 3U);
  EXPECT_EQ(tight.preemptions, 1U);
  EXPECT_EQ(tight.recomputed_tokens, 3U);
  EXPECT_EQ(tight.requests[0].preemptions, 0U);
  // Readmission is not admission.
  EXPECT_EQ(tight.requests[1].admitted, roomy.requests[1].admitted);
  EXPECT_EQ(tight.output_tokens, roomy.output_tokens);
  EXPECT_EQ(tight.output_digest, roomy.output_digest);
  ASSERT_EQ(tight.samples.size(), 2U);
}

TEST_F(DriveTest, PreemptedRequestsComeBackBeforeThoseThatWaited) {
  script_.capacity_tokens = 14;
  script_.info.slots = 3;
  std::vector<Request> requests;
  for (RequestId id = 0; id < 6; ++id) requests.push_back(fake_request(id, 0, 4, 8));
  const EventLog log = run(std::move(requests));
  EXPECT_GT(log.preemptions, 2U);
  // Whoever leaves and is admitted again was the youngest; whoever is admitted is the oldest that
  // waits.
  const std::vector<FakeEvent>& events = engine_->events();
  const auto admitted_after = [&](RequestId request, std::size_t place) {
    return std::any_of(events.begin() + static_cast<std::ptrdiff_t>(place) + 1, events.end(),
                       [&](const FakeEvent& e) { return e.admitted && e.request == request; });
  };
  std::set<RequestId> active;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const RequestId request = events[i].request;
    if (!events[i].admitted) {
      if (admitted_after(request, i)) {
        EXPECT_EQ(request, *active.rbegin());
      }
      active.erase(request);
      continue;
    }
    for (RequestId older = 0; older < request; ++older) {
      EXPECT_TRUE(active.count(older) > 0 || !admitted_after(older, i)) << older;
    }
    active.insert(request);
  }
  std::vector<Nanoseconds> ends;
  for (const RequestRecord& record : log.requests) ends.push_back(record.finished);
  EXPECT_TRUE(std::is_sorted(ends.begin(), ends.end()));
}

TEST_F(DriveTest, WhatCanNeverFitIsRefusedAndCounted) {
  options_.budget.max_len = 32;
  script_.info.max_history_tokens = 20;
  std::vector<Request> requests = {fake_request(0, 0, 0, 4),  fake_request(1, 0, 4, 0),
                                   fake_request(2, 0, 17, 5), fake_request(3, 0, 17, 4),
                                   fake_request(4, 0, 2, 2),  fake_request(5, 0, 2, 2)};
  requests[4].prompt = {63, 64};  // 64 is not in the vocabulary
  requests[5].prompt = {63, 0};
  const EventLog log = run(requests);
  const std::vector<RequestState> expected = {RequestState::refused, RequestState::refused,
                                              RequestState::refused, RequestState::finished,
                                              RequestState::refused, RequestState::finished};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(log.requests[i].state, expected[i]) << i;
  }
  EXPECT_EQ(log.requests[2].admitted, -1);
  script_.info.max_history_tokens = 256;
  options_.budget.max_len = 20;  // the other of the two limits
  const EventLog other = run(requests);
  EXPECT_EQ(other.requests[2].state, RequestState::refused);
  EXPECT_EQ(other.requests[3].state, RequestState::finished);
}

TEST_F(DriveTest, AClosedLoopKeepsItsConcurrency) {
  std::vector<Request> requests;
  for (RequestId id = 0; id < 20; ++id) {
    requests.push_back(fake_request(id, 0, 1 + id % 3, 1 + (id * 7) % 5));
  }
  requests[7].prompt_tokens = 0;  // refused: its place is free again at once
  const EventLog log = run(std::move(requests), {.closed = true, .concurrency = 3});
  // A place is opened by each end, and by the refusal at the moment of its own arrival.
  std::vector<Nanoseconds> openings = {0, 0, 0};
  for (const RequestRecord& record : log.requests) {
    openings.push_back(record.state == RequestState::refused ? record.intended_arrival
                                                             : record.finished);
  }
  std::sort(openings.begin(), openings.end());
  for (std::size_t i = 0; i < log.requests.size(); ++i) {
    EXPECT_EQ(log.requests[i].intended_arrival, openings[i]) << i;
    EXPECT_EQ(log.requests[i].enqueued, openings[i]) << i;
  }
  EXPECT_EQ(log.requests[7].state, RequestState::refused);
}

TEST_F(DriveTest, AStopTokenEndsTheOutputAsItsLastToken) {
  options_.keep_output_tokens = true;
  Request request = fake_request(0, 0, 3, 8);
  const std::vector<TokenId> whole = run({request}).output_tokens[0];
  ASSERT_EQ(whole.size(), 8U);
  request.stop_token = whole[4];
  const auto first = std::find(whole.begin(), whole.end(), whole[4]);
  const std::vector<TokenId> stopped = run({request}).output_tokens[0];
  EXPECT_EQ(stopped, std::vector<TokenId>(whole.begin(), first + 1));
}

TEST_F(DriveTest, ATimeLimitLeavesTheRestInFlight) {
  options_.time_limit = 1'000;
  script_.info.slots = 1;
  std::vector<Request> requests;
  for (RequestId id = 0; id < 50; ++id) {
    requests.push_back(fake_request(id, Nanoseconds(id) * 50, 1, 10));
  }
  const EventLog log = run(std::move(requests));
  EXPECT_TRUE(log.interrupted);
  // Everything that was to arrive before the end has arrived, served or not.
  EXPECT_EQ(log.requests.size(), static_cast<std::size_t>(log.duration / 50 + 1));
  const auto finished =
      std::count_if(log.requests.begin(), log.requests.end(),
                    [](const auto& record) { return record.state == RequestState::finished; });
  EXPECT_EQ(finished, log.duration / (10 + 9 * 7));
  EXPECT_EQ(log.requests.back().state, RequestState::in_flight);
  EXPECT_EQ(log.requests.back().finished, -1);
}

TEST_F(DriveTest, AStopFlagIsSeenBetweenSteps) {
  std::atomic<bool> stop = false;
  options_.stop = &stop;
  script_.step_time = [&](const StepPlan& plan) {
    stop = plan.step == 3;
    return 7;
  };
  const EventLog log = run({fake_request(0, 0, 1, 100), fake_request(1, 1'000'000, 1, 1)});
  EXPECT_TRUE(log.interrupted);
  EXPECT_EQ(log.steps.size(), 3U);
  ASSERT_EQ(log.requests.size(), 1U);
  EXPECT_EQ(log.requests[0].output_tokens, 4U);
}

TEST_F(DriveTest, ProgressComesAtMostEveryTenthOfASecond) {
  script_.step_time = [](const StepPlan&) { return 30 * kNanosecondsPerMillisecond; };
  std::vector<Nanoseconds> times;
  options_.progress = [&](const DriveProgress& progress) { times.push_back(progress.elapsed); };
  run({fake_request(0, 0, 1, 101)});
  ASSERT_EQ(times.size(), 25U);  // every fourth of a hundred steps
  for (std::size_t i = 1; i < times.size(); ++i) EXPECT_GE(times[i] - times[i - 1], 100'000'000);
}

TEST_F(DriveTest, SamplesAreTheLongestThePreemptedAndASeededChoice) {
  script_.shape = fake_shape(ModelKind::attention_only);
  options_ = fake_options(script_);
  options_.samples = {.longest = 2, .preempted = 0, .random = 3, .seed = 5};
  std::vector<Request> requests;
  for (RequestId id = 0; id < 100; ++id) requests.push_back(fake_request(id, 0, 1 + id % 50, 2));
  const EventLog log = run(requests);
  std::vector<RequestId> ids;
  for (const OutputSample& sample : log.samples) {
    ids.push_back(sample.request);
    EXPECT_EQ(sample.history_tokens, requests[sample.request].prompt_tokens + 1);
    EXPECT_EQ(sample.output.size(), 8U);
  }
  const std::vector<RequestId> longest = {49, 99};
  EXPECT_TRUE(std::includes(ids.begin(), ids.end(), longest.begin(), longest.end()));
  EXPECT_LE(ids.size(), 5U);
  EXPECT_GE(ids.size(), 3U);
  // Another engine that finishes the same requests in another order keeps the same ones.
  script_.info.slots = 1;
  std::vector<RequestId> other;
  for (const OutputSample& sample : run(requests).samples) other.push_back(sample.request);
  EXPECT_EQ(ids, other);
}

RC_GTEST_PROP(Drive, EveryArrivedRequestEndsInExactlyOneState, ()) {
  ManualClock clock;
  FakeScript script;
  const bool attention_only = *rc::gen::arbitrary<bool>();
  if (attention_only) script.shape = fake_shape(ModelKind::attention_only);
  script.clock = &clock;
  script.info.slots = *rc::gen::inRange<std::uint32_t>(1, 9);
  script.info.max_history_tokens = *rc::gen::inRange<std::uint32_t>(4, 40);
  script.capacity_tokens = *rc::gen::inRange<std::uint64_t>(script.info.max_history_tokens, 120);
  script.prefill_time = [](const PrefillChunk& chunk) { return Nanoseconds{chunk.count}; };
  script.step_time = [](const StepPlan& plan) {
    return static_cast<Nanoseconds>(3 + plan.slots.size());
  };
  DriveOptions options = fake_options(script);
  options.budget.prefill_tokens = *rc::gen::inRange<std::uint32_t>(1, 30);
  if (*rc::gen::arbitrary<bool>()) options.time_limit = *rc::gen::inRange<Nanoseconds>(1, 2000);
  const auto count = *rc::gen::inRange<RequestId>(0, 60);
  std::vector<Request> requests;
  for (RequestId id = 0; id < count; ++id) {
    requests.push_back(fake_request(id, Nanoseconds(id) * 11,
                                    *rc::gen::inRange<std::uint32_t>(0, 25),
                                    *rc::gen::inRange<std::uint32_t>(0, 25)));
  }
  const LoopMode loop{.closed = *rc::gen::arbitrary<bool>(), .concurrency = 6};

  FakeEngine engine(script);
  ListStream stream(requests);
  const Result<EventLog> log = drive(engine, stream, loop, options, clock);
  RC_ASSERT(log.has_value());
  RC_ASSERT(engine.used_tokens() == 0U);
  RC_ASSERT(log->interrupted || log->requests.size() == requests.size());

  std::uint64_t tokens = 0;
  std::uint64_t gaps = 0;
  Nanoseconds last_admission = 0;
  for (const RequestRecord& record : log->requests) {
    const Request& request = requests[record.id];
    const std::uint32_t positions = request.prompt_tokens + request.output_tokens - 1;
    const bool fits = request.prompt_tokens > 0 && request.output_tokens > 0 &&
                      positions <= script.info.max_history_tokens;
    RC_ASSERT((record.state == RequestState::refused) == !fits);
    RC_ASSERT(record.state != RequestState::in_flight || log->interrupted);
    tokens += record.output_tokens;
    gaps += record.output_tokens > 0 ? record.output_tokens - 1 : 0;
    if (record.admitted >= 0) {
      RC_ASSERT(record.admitted >= last_admission);
      last_admission = record.admitted;
    }
    if (record.state != RequestState::finished) continue;
    RC_ASSERT(record.output_tokens == request.output_tokens);
    FakeEngine alone(FakeScript{.shape = script.shape});
    RC_ASSERT(run_alone(alone, request, script.shape, 7).chain == record.output_digest);
  }
  RC_ASSERT(log->gaps.size() == gaps);
  std::uint64_t rows = 0;
  for (const StepRecord& step : log->steps) rows += step.active_slots;
  RC_ASSERT(rows <= tokens);
  for (const TokenGap& gap : log->gaps) RC_ASSERT(gap.step < log->steps.size());
}

}  // namespace
}  // namespace kvrm
