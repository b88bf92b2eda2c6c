// Time as a value that is handed in: a monotonic wall clock for measurements, a manual clock for
// tests.
#pragma once

#include "harness/base/units.h"

namespace kvrm {

class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic; only differences mean anything.
  Nanoseconds now() const { return do_now(); }
  // Returns at or after `deadline`.
  void sleep_until(Nanoseconds deadline) { do_sleep_until(deadline); }

 private:
  virtual Nanoseconds do_now() const = 0;
  virtual void do_sleep_until(Nanoseconds deadline) = 0;
};

// CLOCK_MONOTONIC. Sleeps to within 200 us of the deadline and spins the rest.
class SteadyClock final : public Clock {
 private:
  Nanoseconds do_now() const override;
  void do_sleep_until(Nanoseconds deadline) override;
};

// Moves only when told to, or when somebody sleeps.
class ManualClock final : public Clock {
 public:
  void advance(Nanoseconds duration) { now_ += duration; }

 private:
  Nanoseconds do_now() const override { return now_; }
  void do_sleep_until(Nanoseconds deadline) override { now_ = deadline > now_ ? deadline : now_; }

  Nanoseconds now_ = 0;
};

}  // namespace kvrm
