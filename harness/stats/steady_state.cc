#include "harness/stats/steady_state.h"

#include <array>
#include <cmath>

#include "harness/base/mutation.h"
#include "harness/stats/dispersion.h"

namespace kvrm {

bool is_steady(std::span<const double> series) {
  if (series.size() < kSteadyBatches) return false;
  std::array<double, kSteadyBatches> batch_means{};
  for (std::size_t batch = 0; batch < kSteadyBatches; ++batch) {
    const std::size_t first = series.size() * batch / kSteadyBatches;
    const std::size_t last = series.size() * (batch + 1) / kSteadyBatches;
    batch_means[batch] = mean_of(series.subspan(first, last - first));
  }
  const std::span<const double> all = batch_means;
  const auto early = all.first(kSteadyBatches / 2);
  const auto late = all.last(kSteadyBatches / 2);
  const double difference = std::abs(mean_of(early) - mean_of(late));
  if (difference <= kSteadyTolerance * mean_of(all)) return true;
  constexpr double kCritical = 2.878;
  const double error =
      std::sqrt((variance_of(early) + variance_of(late)) / static_cast<double>(early.size()));
  return difference <= KVRM_MUTATE(steady_seldom, kCritical, 0.5) *
                           KVRM_MUTATE(steady_whatever_drifts, error, 10 * error);
}

}  // namespace kvrm
