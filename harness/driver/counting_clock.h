// Tests only: a clock whose time is how often it has been read, so that what reads it can be
// counted. It never sleeps.
#pragma once

#include <cstdint>

#include "harness/device/clock.h"

namespace kvrm {

class CountingClock final : public Clock {
 public:
  std::uint64_t readings() const { return readings_; }

 private:
  Nanoseconds do_now() const override { return static_cast<Nanoseconds>(++readings_); }
  void do_sleep_until(Nanoseconds) override {}

  mutable std::uint64_t readings_ = 0;
};

}  // namespace kvrm
