// Parallel samples through the loop: who forks whom and when, what is counted, and that no schedule
// changes an output.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "harness/driver/drive.h"
#include "harness/driver/fake_engine.h"
#include "harness/driver/solo_run.h"

namespace kvrm {
namespace {

// A sample of the prompt of `first`, as workloads make them.
Request sample_of(const Request& first, RequestId id, std::uint32_t output) {
  Request sample = fake_request(id, first.arrival, first.prompt_tokens + 1, output);
  sample.prefix_key = first.content_key;
  sample.prefix_tokens = first.prompt_tokens;
  return sample;
}

class ForkTest : public testing::Test {
 protected:
  ForkTest() {
    script_.clock = &clock_;
    script_.info.can_fork = true;
    script_.prefill_time = [](const PrefillChunk& chunk) { return 10 * Nanoseconds{chunk.count}; };
    script_.step_time = [](const StepPlan&) { return 7; };
    options_ = fake_options(script_);
  }

  EventLog run(std::vector<Request> requests) {
    engine_ = std::make_unique<FakeEngine>(script_);
    ListStream stream(requests);
    Result<EventLog> log = drive(*engine_, stream, {}, options_, clock_);
    EXPECT_TRUE(log.has_value());
    EXPECT_EQ(engine_->used_tokens(), 0U);
    for (const RequestRecord& record : log->requests) {
      FakeEngine alone(FakeScript{.shape = script_.shape});
      EXPECT_EQ(run_alone(alone, requests[record.id], script_.shape, 64).chain,
                record.output_digest)
          << record.id;
    }
    return std::move(*log);
  }

  // Request -> the one that it forked, of every fork.
  std::map<RequestId, RequestId> forks() const {
    std::map<RequestId, RequestId> forks;
    for (const FakeEvent& event : engine_->events()) {
      if (event.fork_of) forks[event.request] = *event.fork_of;
    }
    return forks;
  }

  ManualClock clock_;
  FakeScript script_;
  DriveOptions options_;
  std::unique_ptr<FakeEngine> engine_;
};

TEST_F(ForkTest, SamplesPrefillNothingAndDecodeInTheSameTurn) {
  options_.budget.prefill_tokens = 4;  // used up by the first request; forks need none
  const Request first = fake_request(0, 0, 4, 3);
  const EventLog log = run({first, sample_of(first, 1, 2), sample_of(first, 2, 1)});
  EXPECT_EQ(engine_->calls(), "pss");
  EXPECT_EQ(forks(), (std::map<RequestId, RequestId>{{1, 0}, {2, 1}}));
  EXPECT_EQ(log.end_usage.counters.forks, 2U);
  EXPECT_EQ(log.prefilled_tokens, 4U);
  EXPECT_EQ(log.steps[0].prefill_tokens, 4U);
  EXPECT_EQ(log.steps[0].active_slots, 3U);
  EXPECT_EQ(log.requests[0].first_token, 40);
  for (const std::size_t sample : {1, 2}) {
    EXPECT_EQ(log.requests[sample].admitted, 40);
    EXPECT_EQ(log.requests[sample].first_token, 47);
  }
  EXPECT_EQ(log.requests[2].finished, 47);
  EXPECT_EQ(log.requests[1].finished, 54);
}

TEST_F(ForkTest, AnEngineThatCannotForkPrefillsThemAll) {
  script_.info.can_fork = false;
  const Request first = fake_request(0, 0, 4, 3);
  const EventLog log = run({first, sample_of(first, 1, 2), sample_of(first, 2, 1)});
  EXPECT_TRUE(forks().empty());
  EXPECT_EQ(log.prefilled_tokens, 4U + 5U + 5U);
}

TEST_F(ForkTest, ASiblingWillDoWhenTheFirstHasEnded) {
  const Request first = fake_request(0, 0, 4, 1);  // ends with its prefill
  const EventLog log = run({first, sample_of(first, 1, 9), sample_of(first, 2, 9)});
  EXPECT_EQ(forks(), (std::map<RequestId, RequestId>{{2, 1}}));
  EXPECT_EQ(log.prefilled_tokens, 4U + 5U);
}

TEST_F(ForkTest, ALateSampleForksAParentThatIsLongPastItsPrompt) {
  const Request first = fake_request(0, 0, 4, 30);
  Request late = sample_of(first, 1, 3);
  late.arrival = 100;
  const EventLog log = run({first, late});
  EXPECT_EQ(forks(), (std::map<RequestId, RequestId>{{1, 0}}));
  EXPECT_EQ(log.requests[1].first_token - log.requests[1].admitted, 7);
}

TEST_F(ForkTest, OnlyAPromptThatIsSharedButForOneTokenIsForked) {
  script_.info.slots = 8;
  const Request first = fake_request(0, 0, 6, 20);
  Request longer = sample_of(first, 1, 2);  // shares more than the first one's prompt
  longer.prefix_tokens = 8;
  longer.prompt_tokens = 9;
  Request shorter = sample_of(first, 2, 2);
  shorter.prefix_tokens = 3;
  shorter.prompt_tokens = 4;
  Request two_own = sample_of(first, 3, 2);
  two_own.prompt_tokens = 8;
  Request other = sample_of(first, 4, 2);
  other.prefix_key += 1;
  Request given = sample_of(first, 5, 2);  // its tokens are not those that the key names
  given.prompt = {1, 2, 3, 4, 5, 6, 7};
  Request given_first = fake_request(6, 0, 6, 20);
  given_first.content_key = 99;
  given_first.prompt = {1, 2, 3, 4, 5, 6};
  const Request of_given = sample_of(given_first, 7, 2);
  run({first, longer, shorter, two_own, other, given, given_first, of_given});
  EXPECT_EQ(forks(), (std::map<RequestId, RequestId>{{2, 1}}));  // the last that holds enough
}

TEST_F(ForkTest, AForkThatDoesNotFitWaitsInOrder) {
  script_.capacity_tokens = 8;
  const Request first = fake_request(0, 0, 6, 3);  // grows to 8 positions
  const EventLog log = run({first, sample_of(first, 1, 2), fake_request(2, 0, 1, 1)});
  // Admitted while the first had two positions to grow into, the fork took one and then had to give
  // it back; the third never passed it.
  EXPECT_GT(log.requests[1].preemptions + engine_->refused_forks(), 0U);
  EXPECT_EQ(log.requests[0].preemptions, 0U);
  EXPECT_LE(log.requests[1].admitted, log.requests[2].admitted);
}

TEST_F(ForkTest, SharedPositionsThatAreLostAndPrefilledCountAsRecomputed) {
  script_.capacity_tokens = 7;
  const Request first = fake_request(0, 0, 6, 2);  // takes the last position and ends
  const EventLog log = run({first, sample_of(first, 1, 1)});
  EXPECT_EQ(forks(), (std::map<RequestId, RequestId>{{1, 0}}));
  EXPECT_EQ(log.requests[1].preemptions, 1U);
  EXPECT_EQ(log.requests[1].recomputed_tokens, 6U);
  EXPECT_EQ(log.prefilled_tokens, 6U + 7U);
}

// What a run over random samples has met.
struct Coverage {
  std::uint64_t forks = 0;
  std::uint64_t of_first = 0;
  std::uint64_t of_sibling = 0;
  std::uint64_t of_preempted_before = 0;  // the parent had lost its slot once and was back
  std::uint64_t parent_left_first = 0;    // by its end or by preemption, while the fork was active
  std::uint64_t forked_twice = 0;         // preempted without output and forked again
  std::uint64_t prefilled_after_fork = 0;
  std::uint64_t samples_prefilled = 0;
  std::uint64_t refused = 0;
  std::uint64_t recomputed = 0;
  std::uint64_t interrupted = 0;
};

void note(const std::vector<FakeEvent>& events, const std::vector<Request>& requests,
          Coverage& coverage) {
  std::map<RequestId, RequestId> parents;  // of the active forks
  std::map<RequestId, int> releases;
  std::set<RequestId> forked;
  for (const FakeEvent& event : events) {
    if (!event.admitted) {
      ++releases[event.request];
      parents.erase(event.request);
      for (const auto& [fork, parent] : parents) {
        coverage.parent_left_first += parent == event.request ? 1 : 0;
      }
      continue;
    }
    const bool again = forked.count(event.request) > 0;
    if (!event.fork_of) {
      coverage.prefilled_after_fork += again ? 1 : 0;
      coverage.samples_prefilled += requests[event.request].prefix_tokens > 0 ? 1 : 0;
      continue;
    }
    ++coverage.forks;
    (requests[*event.fork_of].prefix_tokens > 0 ? coverage.of_sibling : coverage.of_first) += 1;
    coverage.of_preempted_before += releases.count(*event.fork_of);
    coverage.forked_twice += again ? 1 : 0;
    forked.insert(event.request);
    parents[event.request] = *event.fork_of;
  }
}

struct RandomRun {
  ManualClock clock;
  FakeScript script;
  DriveOptions options;
  LoopMode loop;
  std::vector<Request> requests;

  explicit RandomRun(std::uint64_t seed) {
    RandomStream random(seed, "fork run");
    const auto between = [&](std::uint32_t low, std::uint32_t high) {
      return low + static_cast<std::uint32_t>(random.below(high - low + 1));
    };
    if (random.below(2) == 0) script.shape = fake_shape(ModelKind::attention_only);
    script.clock = &clock;
    script.info.can_fork = random.below(5) != 0;
    script.info.slots = between(1, 8);
    script.info.max_history_tokens = between(8, 48);
    script.capacity_tokens = script.info.max_history_tokens + between(0, 60);
    script.prefill_time = [](const PrefillChunk& chunk) { return Nanoseconds{chunk.count}; };
    script.step_time = [](const StepPlan& plan) {
      return static_cast<Nanoseconds>(3 + plan.slots.size());
    };
    options = fake_options(script);
    options.budget.prefill_tokens = between(1, 30);
    if (random.below(6) == 0) options.time_limit = between(1, 2000);
    loop = {.closed = random.below(2) == 0, .concurrency = between(1, 9)};
    while (requests.size() < 40) {
      const Request first = fake_request(requests.size(), Nanoseconds(requests.size()) * 11,
                                         between(0, 24), between(0, 20));
      requests.push_back(first);
      for (std::uint32_t left = between(0, 5); left > 0 && first.prompt_tokens > 0; --left) {
        requests.push_back(sample_of(first, requests.size(), between(0, 20)));
      }
    }
  }
};

void check_records(const RandomRun& setup, const FakeEngine& engine, const EventLog& log) {
  for (const RequestRecord& record : log.requests) {
    const Request& request = setup.requests[record.id];
    const std::uint32_t positions = request.prompt_tokens + request.output_tokens - 1;
    const bool fits = request.prompt_tokens > 0 && request.output_tokens > 0 &&
                      positions <= setup.script.info.max_history_tokens;
    ASSERT_EQ(record.state == RequestState::refused, !fits);
    ASSERT_EQ(record.recomputed_tokens, engine.recomputed_tokens(record.id)) << record.id;
    if (record.state != RequestState::finished) continue;
    ASSERT_EQ(record.output_tokens, request.output_tokens);
    FakeEngine alone(FakeScript{.shape = setup.script.shape});
    ASSERT_EQ(run_alone(alone, request, setup.script.shape, 7).chain, record.output_digest)
        << record.id;
  }
}

TEST(ForkProperty, AForkedSamplesOutputIsThatOfTheRequestAlone) {
  Coverage coverage;
  for (std::uint64_t seed = 0; seed < 400 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    RandomRun setup(seed);
    FakeEngine engine(setup.script);
    ListStream stream(setup.requests);
    const Result<EventLog> log = drive(engine, stream, setup.loop, setup.options, setup.clock);
    ASSERT_TRUE(log.has_value());
    EXPECT_EQ(engine.used_tokens(), 0U);
    EXPECT_TRUE(log->interrupted || log->requests.size() == setup.requests.size());
    EXPECT_EQ(log->prefilled_tokens, engine.prefilled_tokens());
    check_records(setup, engine, *log);
    const std::uint64_t before = coverage.forks;
    note(engine.events(), setup.requests, coverage);
    EXPECT_EQ(coverage.forks - before, log->end_usage.counters.forks);
    EXPECT_TRUE(setup.script.info.can_fork || coverage.forks == before);
    coverage.refused += engine.refused_forks();
    coverage.recomputed += log->recomputed_tokens;
    coverage.interrupted += log->interrupted ? 1 : 0;
  }
  EXPECT_GT(coverage.of_first, 100U);
  EXPECT_GT(coverage.of_sibling, 100U);
  EXPECT_GT(coverage.of_preempted_before, 20U);
  EXPECT_GT(coverage.parent_left_first, 100U);
  EXPECT_GT(coverage.forked_twice, 20U);
  EXPECT_GT(coverage.prefilled_after_fork, 20U);
  EXPECT_GT(coverage.samples_prefilled, 100U);
  EXPECT_GT(coverage.refused, 20U);
  EXPECT_GT(coverage.recomputed, 1000U);
  EXPECT_GT(coverage.interrupted, 10U);
}

}  // namespace
}  // namespace kvrm
