// Digests see everything that an event log says; states and statuses have names.
#include "harness/result/event_log.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>

#include "harness/result/results.h"

namespace kvrm {
namespace {

EventLog small_log() {
  EventLog log;
  log.engine_label = "kvrm";
  log.duration = 100;
  log.workload_digest = 7;
  log.requests.resize(2);
  log.requests[0] = {.id = 0, .state = RequestState::finished, .output_digest = 11};
  log.requests[1] = {.id = 1, .state = RequestState::finished, .output_digest = 12};
  log.steps.resize(1);
  log.gaps.resize(1);
  return log;
}

TEST(EventLogDigest, EveryFactCounts) {
  const std::vector<std::function<void(EventLog&)>> changes = {
      [](EventLog& log) { log.engine_label = "paged"; },
      [](EventLog& log) { log.repeat = 1; },
      [](EventLog& log) { log.duration = 101; },
      [](EventLog& log) { log.workload_digest = 8; },
      [](EventLog& log) { log.output_digest = 1; },
      [](EventLog& log) { log.wasted_rows = 1; },
      [](EventLog& log) { log.requests[1].state = RequestState::in_flight; },
      [](EventLog& log) { log.requests[1].output_tokens = 3; },
      [](EventLog& log) { log.requests[0].first_token = 5; },
      [](EventLog& log) { log.requests[0].finished = 5; },
      [](EventLog& log) { log.steps[0].end = 9; },
      [](EventLog& log) { log.steps[0].memory.live_bytes = 1; },
      [](EventLog& log) { log.gaps[0].gap = 1; },
      [](EventLog& log) { log.gaps[0].step = 1; },
  };
  std::set<std::uint64_t> seen = {event_log_digest(small_log())};
  for (const auto& change : changes) {
    EventLog log = small_log();
    change(log);
    EXPECT_TRUE(seen.insert(event_log_digest(log)).second) << seen.size();
  }
  EXPECT_EQ(event_log_digest(small_log()), event_log_digest(small_log()));
}

TEST(OutputDigest, FollowsIdsOfFinishedRequestsOnly) {
  std::vector<RequestRecord> requests = small_log().requests;
  const std::uint64_t digest = fold_output_digests(requests);
  std::swap(requests[0], requests[1]);
  EXPECT_EQ(fold_output_digests(requests), digest);
  requests.push_back({.id = 2, .state = RequestState::refused, .output_digest = 99});
  EXPECT_EQ(fold_output_digests(requests), digest);
  std::swap(requests[0].output_digest, requests[1].output_digest);
  EXPECT_NE(fold_output_digests(requests), digest);
}

TEST(Names, AreDistinctAndOnlyVerifiedKindsCarryMetrics) {
  std::set<std::string_view> names;
  std::set<std::string_view> carrying;
  for (int i = 0; i <= static_cast<int>(RunStatus::incomplete); ++i) {
    const auto status = static_cast<RunStatus>(i);
    names.insert(run_status_name(status));
    if (carries_metrics(status)) carrying.insert(run_status_name(status));
  }
  EXPECT_EQ(names.size(), 7U);
  EXPECT_EQ(carrying,
            (std::set<std::string_view>{"verified", "approximate", "modelled", "unchecked"}));
  EXPECT_EQ(request_state_name(RequestState::in_flight), "in_flight");
}

}  // namespace
}  // namespace kvrm
