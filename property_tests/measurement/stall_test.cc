// A server that stalls 200 ms ten times. Among ten thousand tokens that is one in a thousand, so it
// must show in p99.9 and must not in p99; and every request that arrives while it hangs has waited,
// whether or not a client would have sent it then (coordinated omission).
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "harness/driver/fake_drive.h"
#include "harness/metrics/summarise.h"
#include "harness/stats/percentile.h"

namespace kvrm {
namespace {

constexpr Nanoseconds kMillisecond = kNanosecondsPerMillisecond;
constexpr Nanoseconds kStall = 200 * kMillisecond;
constexpr Epoch kStepsPerStall = 900;
constexpr Epoch kStalls = 10;

class StallTest : public FakeDrive {
 protected:
  StallTest() {
    script_.prefill_time = [](const PrefillChunk&) { return Nanoseconds{0}; };
    script_.step_time = [this](const StepPlan& plan) {
      const bool stalls = plan.step % kStepsPerStall == 0 && plan.step / kStepsPerStall <= kStalls;
      stalls_ += stalls ? 1 : 0;
      return stalls ? kStall : kMillisecond;
    };
    options_.budget.prefill_tokens = 1000;
  }

  LatencyMetrics latency(const std::vector<Request>& requests) {
    const std::vector<std::vector<EventLog>> logs = {{run(requests)}};
    ExperimentPoint point;
    point.driver.warmup_share = 0;
    point.workload.arrivals.kind = ArrivalSpec::Kind::poisson;
    std::vector<EngineResult> engines(1);
    engines[0].info.label = "fake";
    engines[0].status = RunStatus::verified;
    summarise_point(point, engines, logs);
    return engines[0].metrics->latency;
  }

  Epoch stalls_ = 0;
};

TEST_F(StallTest, ShowsBetweenTokensAtThreeNinesAndNotAtTwo) {
  script_.info.slots = 1;
  std::vector<Request> requests;
  for (RequestId id = 0; id < 90; ++id) requests.push_back(fake_request(id, 0, 1, 101));
  const LatencyMetrics metrics = latency(requests);
  EXPECT_EQ(stalls_, kStalls);
  for (const PercentileRow& row : {metrics.itl_ms, metrics.step_ms}) {
    EXPECT_DOUBLE_EQ(row.at("p99.9")->value, 200);
    EXPECT_DOUBLE_EQ(row.at("max")->value, 200);
    EXPECT_DOUBLE_EQ(row.at("p99")->value, 1);
    EXPECT_DOUBLE_EQ(row.at("p50")->value, 1);
  }
}

// One request a millisecond, each of two tokens; two hundred arrive in each stall and wait for what
// is left of it.
TEST_F(StallTest, CountsForWhoeverArrivesMeanwhile) {
  script_.info.slots = 256;
  options_.budget.max_batch = 256;
  std::vector<Request> requests;
  for (RequestId id = 0; id < 14'000; ++id) {
    requests.push_back(fake_request(id, static_cast<Nanoseconds>(id) * kMillisecond, 1, 2));
  }
  const LatencyMetrics metrics = latency(requests);
  EXPECT_EQ(stalls_, kStalls);
  // Waits of 199, 198, ... 0 ms ten times over, everybody else none: the fourteen longest are ten
  // of 199 and four of 198.
  EXPECT_DOUBLE_EQ(metrics.ttft_ms.at("max")->value, 199);
  EXPECT_DOUBLE_EQ(metrics.ttft_ms.at("p99.9")->value, 198);
  EXPECT_DOUBLE_EQ(metrics.ttft_ms.at("p99")->value, 185);
  EXPECT_DOUBLE_EQ(metrics.ttft_ms.at("p50")->value, 0);
}

}  // namespace
}  // namespace kvrm
