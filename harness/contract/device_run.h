// When a device worked, as the device itself saw it. A value between devices, engines and the
// driver; nobody here measures.
#pragma once

#include "harness/base/units.h"

namespace kvrm {

// By the device's clock. The whole is zero where no device worked.
struct DeviceRun {
  Nanoseconds begin = 0;  // the first item of the first operation started
  Nanoseconds end = 0;    // the last item of the last operation ended
  // Of that, not waiting for the caller to launch more. Where the caller is one of the workers its
  // launching between operations is included.
  Nanoseconds busy = 0;
  bool concurrent = false;  // the caller was no worker and could go on meanwhile
};

}  // namespace kvrm
