// Which request is disputed first, over every place of the difference.
#include "harness/driver/judgement.h"

#include <gtest/gtest.h>

namespace kvrm {
namespace {

constexpr std::size_t kRequests = 5;

EventLog log_of_finished_requests() {
  EventLog log;
  for (RequestId id = 0; id < kRequests; ++id) {
    RequestRecord record;
    record.id = id;
    record.state = RequestState::finished;
    record.output_digest = 100 + id;
    log.requests.push_back(record);
  }
  return log;
}

TEST(FirstDisagreement, IsFoundInEveryRequestEngineAndRepeat) {
  const EventLog log = log_of_finished_requests();
  const std::vector<std::vector<EventLog>> agreed(3, {log, log});
  const std::vector<bool> all(3, true);
  EXPECT_EQ(first_disagreement(agreed, all), std::nullopt);
  for (RequestId id = 0; id < kRequests; ++id) {
    for (std::size_t engine = 0; engine < 3; ++engine) {
      for (std::size_t repeat = 0; repeat < 2; ++repeat) {
        std::vector<std::vector<EventLog>> logs = agreed;
        RequestRecord& record = logs[engine][repeat].requests[id];
        ++record.output_digest;
        EXPECT_EQ(first_disagreement(logs, all), id) << engine << " " << repeat;
        std::vector<bool> others = all;
        others[engine] = false;
        EXPECT_EQ(first_disagreement(logs, others), std::nullopt);
        record.state = RequestState::in_flight;
        EXPECT_EQ(first_disagreement(logs, all), std::nullopt);
      }
    }
  }
}

}  // namespace
}  // namespace kvrm
