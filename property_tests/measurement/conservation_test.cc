// Nothing is lost and nothing is counted twice between the workload, the engine, the event log and
// the result (DESIGN 19, 8 and 24).
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "harness/metrics/summarise.h"
#include "property_tests/measurement/random_run.h"

namespace kvrm::measurement {
namespace {

struct Coverage {
  std::uint64_t preemptions = 0;
  std::uint64_t refused = 0;
  std::uint64_t waiting = 0;          // never admitted when the run was cut
  std::uint64_t cut = 0;              // in flight with some of their tokens
  std::uint64_t wasted_rows = 0;      // planned ahead for a request that had ended
  std::uint64_t preempted_often = 0;  // requests that were preempted three times and more
};

EngineResult totals_of(const EventLog& log) {
  ExperimentPoint point;
  std::vector<EngineResult> engines(1);
  engines[0].status = RunStatus::verified;
  const std::vector<std::vector<EventLog>> logs = {{log}};
  summarise_point(point, engines, logs);
  return engines[0];
}

void expect_request_conserved(const RandomRun& run, const RequestRecord& record,
                              Coverage& coverage) {
  const Request& request = run.requests[record.id];
  const auto found = run.timeline.tokens.find(record.id);
  const std::size_t given = found == run.timeline.tokens.end() ? 0 : found->second.size();
  ASSERT_EQ(record.output_tokens, given) << record.id;
  ASSERT_EQ(record.state == RequestState::refused, !run.fits(request)) << record.id;
  ASSERT_EQ(record.state == RequestState::finished,
            run.fits(request) && given == request.output_tokens)
      << record.id;
  ASSERT_EQ(record.recomputed_tokens, run.engine->recomputed_tokens(record.id)) << record.id;
  coverage.refused += record.state == RequestState::refused ? 1 : 0;
  coverage.waiting += record.state == RequestState::in_flight && record.admitted < 0 ? 1 : 0;
  coverage.cut += record.state == RequestState::in_flight && given > 0 ? 1 : 0;
  coverage.preempted_often += record.preemptions > 2 ? 1 : 0;
}

void expect_conserved(const RandomRun& run, const EventLog& log, Coverage& coverage) {
  std::uint64_t prompts = 0;
  std::uint64_t gaps = 0;
  for (const RequestRecord& record : log.requests) {
    ASSERT_NO_FATAL_FAILURE(expect_request_conserved(run, record, coverage));
    prompts += record.admitted < 0 ? 0 : record.prompt_tokens;
    gaps += record.output_tokens > 0 ? record.output_tokens - 1 : 0;
  }
  if (!log.interrupted) {
    ASSERT_EQ(log.requests.size(), run.requests.size());
  }
  const EngineResult result = totals_of(log);
  EXPECT_EQ(result.requests.arrived, log.requests.size());
  EXPECT_EQ(result.requests.finished + result.requests.refused + result.requests.in_flight,
            result.requests.arrived);
  std::uint64_t given = 0;
  for (const auto& [request, tokens] : run.timeline.tokens) given += tokens.size();
  EXPECT_EQ(result.output_tokens, given);
  EXPECT_EQ(log.gaps.size(), gaps);
  EXPECT_EQ(result.prompt_tokens, prompts);
  EXPECT_EQ(result.prefilled_tokens, run.engine->prefilled_tokens());
  EXPECT_EQ(result.steps, run.timeline.step_ends.size());
  std::uint64_t rows = 0;
  for (const StepRecord& step : log.steps) rows += step.active_slots;
  EXPECT_EQ(rows, run.timeline.rows);
  EXPECT_EQ(run.engine->extended(), rows + log.wasted_rows);
  EXPECT_EQ(run.engine->used_tokens(), 0U);
  // Every admission ends once: in an end, a preemption, or with the run.
  std::uint64_t admissions = 0;
  std::uint64_t releases = 0;
  for (const FakeEvent& event : run.engine->events()) ++(event.admitted ? admissions : releases);
  EXPECT_EQ(admissions, releases);
  EXPECT_GE(admissions, result.requests.finished + log.preemptions);
  coverage.preemptions += log.preemptions;
  coverage.wasted_rows += log.wasted_rows;
}

TEST(Conservation, OfRequestsAndTokensFromTheWorkloadToTheResult) {
  Coverage coverage;
  for (std::uint64_t seed = 0; seed < 500 && !HasFailure(); ++seed) {
    SCOPED_TRACE("RandomRun(" + std::to_string(seed) + ")");
    RandomRun run(seed);
    const EventLog log = run.run();
    expect_conserved(run, log, coverage);
  }
  EXPECT_GT(coverage.preemptions, 100U);
  EXPECT_GT(coverage.refused, 100U);
  EXPECT_GT(coverage.waiting, 100U);
  EXPECT_GT(coverage.cut, 50U);
  EXPECT_GT(coverage.wasted_rows, 100U);
}

// Memory for just one longest history, and as many that want it as there are slots: whoever is
// preempted and admitted again for ever would never end, so the steps have a bound, that of one
// request after another with every token recomputed each time.
TEST(Conservation, EveryRequestThatFitsAloneFinishes) {
  Coverage coverage;
  for (std::uint64_t seed = 0; seed < 300 && !HasFailure(); ++seed) {
    SCOPED_TRACE("RandomRun(" + std::to_string(seed) + ") without room");
    RandomRun run(seed);
    run.time_limit = 0;
    run.script.capacity_tokens =
        round_up(run.script.info.max_history_tokens, run.script.block_tokens);
    std::uint64_t bound = 0;
    for (Request& request : run.requests) {
      if (request.id % 2 == 0 && run.fits(request)) {
        request.output_tokens = run.script.info.max_history_tokens - request.prompt_tokens + 1;
      }
      bound += request.output_tokens;
    }
    run.most_steps = bound;
    const EventLog log = run.run();
    EXPECT_FALSE(log.interrupted) << "more than " << bound << " steps";
    expect_conserved(run, log, coverage);
    for (const RequestRecord& record : log.requests) {
      EXPECT_NE(record.state, RequestState::in_flight) << record.id;
    }
  }
  EXPECT_GT(coverage.preemptions, 1000U);
  EXPECT_GT(coverage.preempted_often, 20U);
}

}  // namespace
}  // namespace kvrm::measurement
