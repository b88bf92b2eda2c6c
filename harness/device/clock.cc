#include "harness/device/clock.h"

#include <ctime>

namespace kvrm {
namespace {

// A sleeping thread wakes late by timer slack and scheduling, so the end of a wait is spun.
constexpr Nanoseconds kSpunWait = 200'000;

}  // namespace

Nanoseconds SteadyClock::do_now() const {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return Nanoseconds{time.tv_sec} * kNanosecondsPerSecond + time.tv_nsec;
}

void SteadyClock::do_sleep_until(Nanoseconds deadline) {
  const Nanoseconds wake = deadline - kSpunWait;
  if (wake > do_now()) {
    timespec time{};
    time.tv_sec = wake / kNanosecondsPerSecond;
    time.tv_nsec = wake % kNanosecondsPerSecond;
    // A signal may end the sleep early; then it goes on, since the deadline is absolute.
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) != 0) {
    }
  }
  while (do_now() < deadline) __builtin_ia32_pause();
}

}  // namespace kvrm
