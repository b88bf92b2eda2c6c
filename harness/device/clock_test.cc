#include "harness/device/clock.h"

#include <gtest/gtest.h>

namespace kvrm {
namespace {

TEST(SteadyClock, NeverGoesBackAndNeverWakesEarly) {
  SteadyClock clock;
  Nanoseconds last = clock.now();
  for (int i = 0; i < 1000; ++i) {
    const Nanoseconds now = clock.now();
    EXPECT_LE(last, now);
    last = now;
  }
  for (const Nanoseconds wait : {-1'000'000, 0, 1'000, 150'000, 1'500'000}) {
    const Nanoseconds deadline = clock.now() + wait;
    clock.sleep_until(deadline);
    EXPECT_GE(clock.now(), deadline);
  }
}

TEST(ManualClock, MovesOnlyWhenTold) {
  ManualClock clock;
  EXPECT_EQ(clock.now(), 0);
  clock.advance(5);
  clock.sleep_until(3);
  EXPECT_EQ(clock.now(), 5);
  clock.sleep_until(9);
  EXPECT_EQ(clock.now(), 9);
}

}  // namespace
}  // namespace kvrm
