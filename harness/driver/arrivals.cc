#include "harness/driver/arrivals.h"

#include <algorithm>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/mutation.h"

namespace kvrm {

Arrivals::Arrivals(RequestStream& stream, const LoopMode& loop)
    : stream_(stream), closed_(loop.closed) {
  if (!closed_) return;
  KVRM_CHECK_LT(0U, loop.concurrency);
  openings_.assign(loop.concurrency, 0);
}

Result<std::optional<Arrival>> Arrivals::take(Nanoseconds now) {
  if (exhausted_ || (closed_ && openings_.empty())) return std::nullopt;
  if (!next_) {
    Result<std::optional<Request>> pulled = stream_.next();
    if (!pulled) return tl::unexpected<Error>(std::move(pulled.error()));
    next_ = std::move(*pulled);
    exhausted_ = !next_.has_value();
    if (exhausted_) return std::nullopt;
  }
  const Nanoseconds intended = closed_ ? openings_.front() : next_->arrival;
  if (intended > now) return std::nullopt;
  if (closed_) openings_.pop_front();
  Arrival arrival{std::move(*next_), intended};
  next_.reset();
  return arrival;
}

void Arrivals::request_ended(Nanoseconds now) {
  if (closed_ && !exhausted_) openings_.push_back(now + KVRM_MUTATE(drive_opening_one_late, 0, 1));
}

Nanoseconds Arrivals::next_arrival() const {
  KVRM_CHECK(!closed_ && next_.has_value());
  return next_->arrival;
}

Nanoseconds LagMeter::own_lag(Nanoseconds arrival, Nanoseconds now) const {
  Nanoseconds lag = now - arrival;
  for (const Interval& busy : busy_) {
    lag -= KVRM_MUTATE(
        drive_lag_of_engine_counted,
        std::max<Nanoseconds>(0, std::min(busy.end, now) - std::max(busy.start, arrival)), 0);
  }
  return lag;
}

}  // namespace kvrm
