// Arrival times without a trace: endless or ending sources of rising times from a random stream.
#pragma once

#include <memory>
#include <optional>

#include "harness/base/prng.h"
#include "harness/base/units.h"
#include "harness/config/experiment.h"

namespace kvrm {

class ArrivalSource {
 public:
  virtual ~ArrivalSource() = default;
  // The next arrival, from the start of the workload; none when there are no more.
  std::optional<Nanoseconds> next() { return do_next(); }

 private:
  virtual std::optional<Nanoseconds> do_next() = 0;
};

// For every kind but `trace`. A closed loop's requests all arrive at 0.
std::unique_ptr<ArrivalSource> make_arrivals(const ArrivalSpec& spec, RandomStream random);

}  // namespace kvrm
