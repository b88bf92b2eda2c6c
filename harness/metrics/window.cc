#include "harness/metrics/window.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "harness/base/mutation.h"

namespace kvrm {

double Window::seconds() const {
  return static_cast<double>(end - std::max<Nanoseconds>(start, 0)) /
         static_cast<double>(kNanosecondsPerSecond);
}

Window measured_window(const EventLog& log, double warmup_share) {
  const double share = warmup_share * static_cast<double>(log.requests.size());
  const auto warmup_requests = static_cast<std::size_t>(
      KVRM_MUTATE(window_warmup_rounded_down, std::ceil(share), std::floor(share)));
  if (warmup_requests == 0) return {-1, log.duration};
  std::vector<Nanoseconds> finished;
  for (const RequestRecord& request : log.requests) {
    if (request.state == RequestState::finished) finished.push_back(request.finished);
  }
  if (finished.size() < warmup_requests) return {log.duration, log.duration};
  const auto last = finished.begin() + static_cast<std::ptrdiff_t>(warmup_requests - 1);
  std::nth_element(finished.begin(), last, finished.end());
  return {*last, log.duration};
}

}  // namespace kvrm
