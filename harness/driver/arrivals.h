// When requests enter the system: at their intended times (open loop), or one for each that ends
// (closed loop). Times are nanoseconds since the run's start.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "harness/base/result.h"
#include "harness/base/units.h"
#include "harness/contract/request.h"

namespace kvrm {

struct Arrival {
  Request request;
  Nanoseconds intended = 0;  // every latency of the request counts from it
};

class Arrivals {
 public:
  // The stream must outlive this.
  Arrivals(RequestStream& stream, const LoopMode& loop);

  // The next request whose intended arrival is at or before `now`.
  Result<std::optional<Arrival>> take(Nanoseconds now);
  // Closed loop: a place has become free; the next request arrives at this moment.
  void request_ended(Nanoseconds now);
  // Nothing will arrive any more. Known only once take() has come back empty.
  bool exhausted() const { return exhausted_; }
  // Intended arrival of the next request of an open loop, after take() has come back empty.
  Nanoseconds next_arrival() const;

 private:
  RequestStream& stream_;
  bool closed_;
  bool exhausted_ = false;
  std::optional<Request> next_;       // open loop: pulled, not due yet
  std::deque<Nanoseconds> openings_;  // closed loop: when each free place became free
};

// How much of a wait was the generator's own. The loop looks for arrivals only between an engine's
// calls; what arrives while the engine computes could not have been taken by any server.
class LagMeter {
 public:
  void engine_busy(Nanoseconds start, Nanoseconds end) { busy_.push_back({start, end}); }
  // Time in [arrival, now] in which the engine was not computing.
  Nanoseconds own_lag(Nanoseconds arrival, Nanoseconds now) const;
  // Everything up to now has been received.
  void reset() { busy_.clear(); }

 private:
  struct Interval {
    Nanoseconds start;
    Nanoseconds end;
  };
  std::vector<Interval> busy_;  // since the last reset; a few
};

}  // namespace kvrm
