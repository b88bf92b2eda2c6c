#include "harness/stats/percentile.h"

#include <algorithm>
#include <vector>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"

namespace kvrm {

std::uint64_t nearest_rank(std::uint64_t count, std::uint32_t per_mille) {
  KVRM_CHECK(count > 0);
  KVRM_CHECK_LE(per_mille, 1000U);
  return std::max<std::uint64_t>(
      KVRM_MUTATE(rank_rounded_down, divide_up(count * per_mille, 1000), count * per_mille / 1000),
      1);
}

double percentile_of_sorted(std::span<const double> ascending, std::uint32_t per_mille) {
  return ascending[nearest_rank(ascending.size(), per_mille) - 1];
}

double percentile_of(std::span<const double> values, std::uint32_t per_mille) {
  std::vector<double> copy(values.begin(), values.end());
  const auto rank = static_cast<std::ptrdiff_t>(nearest_rank(copy.size(), per_mille) - 1);
  std::nth_element(copy.begin(), copy.begin() + rank, copy.end());
  return copy[static_cast<std::size_t>(rank)];
}

std::uint64_t minimum_observations(std::uint32_t per_mille) {
  KVRM_CHECK_LE(per_mille, 1000U);
  if (per_mille == 1000) return 1;
  const double p = per_mille / 1000.0;
  // An exact tie must not be lost to rounding.
  const double limit = KVRM_MUTATE(minimum_observations_lax, 0.01, 0.05) * (1 + 1e-12);
  std::uint64_t count = 1;
  for (double all_below = p; all_below > limit; all_below *= p) ++count;
  return count;
}

}  // namespace kvrm
