// A test that drives a scripted engine on a manual clock, one request list at a time.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "harness/driver/drive.h"
#include "harness/driver/fake_engine.h"

namespace kvrm {

class FakeDrive : public testing::Test {
 protected:
  FakeDrive() {
    script_.clock = &clock_;
    script_.prefill_time = [](const PrefillChunk& chunk) { return 10 * Nanoseconds{chunk.count}; };
    script_.step_time = [](const StepPlan&) { return 7; };
    options_ = fake_options(script_);
  }

  EventLog run(std::vector<Request> requests, LoopMode loop = {}) {
    engine_ = std::make_unique<FakeEngine>(script_);
    ListStream stream(std::move(requests), before_pull_);
    Result<EventLog> log = drive(*engine_, stream, loop, options_, clock_);
    EXPECT_TRUE(log.has_value());
    EXPECT_EQ(engine_->used_tokens(), 0U);
    return std::move(*log);
  }

  ManualClock clock_;
  FakeScript script_;
  DriveOptions options_;
  std::function<void()> before_pull_;
  std::unique_ptr<FakeEngine> engine_;
};

}  // namespace kvrm
