// The measured window of one run: where warm-up ends. The rule is the driver's `warmup_share`.
#pragma once

#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "harness/result/event_log.h"

namespace kvrm {

// Open at the start, closed at the end: an event at exactly `start` was still warm-up.
struct Window {
  Nanoseconds start = -1;  // -1: from the run's start, no warm-up
  Nanoseconds end = 0;

  bool contains(Nanoseconds time) const {
    return time >= start + KVRM_MUTATE(window_opens_with_warmup, 1, 0) && time <= end;
  }
  double seconds() const;
};

// Warm-up lasts until ceil(warmup_share * requests) requests have finished, or to the end of the
// run where fewer did. The window ends with the run.
Window measured_window(const EventLog& log, double warmup_share);

}  // namespace kvrm
