// Which of the host's time a step hid behind the device and which it did not. Waiting for arrivals
// and prefill are neither; the device's own work of a step is neither.
#pragma once

#include <algorithm>
#include <utility>

#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "harness/contract/device_run.h"

namespace kvrm {

struct HostTimes {
  Nanoseconds hidden = 0;   // the host worked while the device did
  Nanoseconds exposed = 0;  // the device did not work
};

class HostMeter {
 public:
  // Since the last step ended this long went by in prefill, or waiting for an arrival.
  void set_aside(Nanoseconds duration) { aside_ += duration; }

  // A step ended at `end`, whose host worked from the launch on until `worked_until` and then
  // waited. What went by since the step before belongs to this one.
  HostTimes step_ended(const DeviceRun& device, Nanoseconds worked_until, Nanoseconds end) {
    HostTimes times;
    if (device.concurrent) {
      // The device lacks work only while the host is still launching.
      const Nanoseconds gaps = device.end - device.begin - device.busy;
      const Nanoseconds together = std::min(worked_until, device.end) - device.begin -
                                   KVRM_MUTATE(host_launch_gaps_hidden, gaps, 0);
      times.hidden = std::max<Nanoseconds>(0, together);
    }
    const Nanoseconds since = end - std::exchange(last_end_, end) - std::exchange(aside_, 0);
    times.exposed = std::max<Nanoseconds>(0, since - device.busy);
    return times;
  }

 private:
  Nanoseconds last_end_ = 0;  // on the run's own clock, which starts at 0
  Nanoseconds aside_ = 0;
};

}  // namespace kvrm
