#include "harness/stats/dispersion.h"

#include <cmath>

#include "harness/base/mutation.h"

namespace kvrm {

double mean_of(std::span<const double> values) {
  if (values.empty()) return 0;
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double variance_of(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double mean = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return squares / static_cast<double>(values.size() - KVRM_MUTATE(variance_biased, 1U, 0U));
}

double coefficient_of_variation(std::span<const double> values) {
  const double mean = mean_of(values);
  return mean == 0 ? 0 : std::sqrt(variance_of(values)) / mean;
}

double index_of_dispersion(std::span<const double> counts) {
  const double mean = mean_of(counts);
  return mean == 0 ? 0 : variance_of(counts) / mean;
}

}  // namespace kvrm
