#include "property_tests/oracle/far_shadow.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "harness/base/mutation.h"

namespace kvrm {
namespace {

using Vector = std::vector<double>;

double norm(std::span<const double> vector) { return std::sqrt(dot(vector, vector)); }

double log_cosh(double r) { return r + std::log1p(std::exp(-2 * r)) - std::log(2.0); }

// The largest over entries of what the bound is made of.
struct Extremes {
  double r = 0;
  double key_rounding = 0;    // e
  double value_rounding = 0;  // g
  double value_diameter = 0;  // D
};

Extremes extremes_of(std::span<const double> query, const std::vector<FarEntry>& entries) {
  const double scaled = norm(query) / std::sqrt(static_cast<double>(query.size()));
  Extremes most;
  for (const FarEntry& entry : entries) {
    most.r = std::max(most.r, scaled * entry.key_radius);
    most.key_rounding = std::max(most.key_rounding, scaled * distance(entry.exact_key, entry.key));
    most.value_rounding = std::max(most.value_rounding, distance(entry.exact_value, entry.value));
    most.value_diameter = std::max(most.value_diameter, 2 * entry.value_radius);
  }
  return most;
}

// E: of the output over the exact positions alone and the values of all entries.
double diameter(const Vector& exact_part, const std::vector<FarEntry>& entries) {
  double largest = 0;
  for (auto a = entries.begin(); a != entries.end(); ++a) {
    largest = std::max(largest, distance(exact_part, a->value));
    for (auto b = entries.begin(); b != a; ++b) {
      largest = std::max(largest, distance(a->value, b->value));
    }
  }
  return largest;
}

}  // namespace

FarComparison compare_with_exact(std::span<const double> query, const Attended& history,
                                 const ReferenceFarHistory& far, std::span<const double> output) {
  Vector weights;
  Vector exact_part(query.size());
  const AttendedCopy unsummarised = attended_exactly(far, history);
  reference_attention(query, unsummarised.view(), weights, exact_part);
  Vector exact(query.size());
  reference_attention(query, history, weights, exact);
  double mass = 0;
  const std::size_t first = far.summarised_first();
  for (std::size_t i = first + KVRM_MUTATE(shadow_mass_one_short, 0U, 1U); i < far.summarised_end();
       ++i)
    mass += weights[i];

  const Extremes most = extremes_of(query, far.entries());
  const double inside =
      std::tanh(most.r / KVRM_MUTATE(shadow_bound_too_wide, 2, 1)) * most.value_diameter +
      KVRM_MUTATE(shadow_rounding_forgotten, most.value_rounding, 0.0);
  const double between = std::tanh((log_cosh(most.r) + 2 * most.key_rounding) / 4);
  return {.error = distance(exact, output),
          .bound = mass * inside + between * diameter(exact_part, far.entries()),
          .noise = 1e-12 * std::max(norm(exact), norm(output))};
}

void count_comparison(const FarComparison& comparison, ShadowError& shadow) {
  ++shadow.outputs;
  shadow.error_max = std::max(shadow.error_max, comparison.error);
  shadow.error_sum += comparison.error;
  shadow.bound_max = std::max(shadow.bound_max, comparison.bound);
  shadow.bound_sum += comparison.bound;
  const double excess = comparison.error - comparison.noise;
  if (excess <= 0) return;
  const double ratio =
      comparison.bound > 0 ? excess / comparison.bound : std::numeric_limits<double>::infinity();
  shadow.error_over_bound_max =
      std::max(KVRM_MUTATE(shadow_worst_ratio_is_last, shadow.error_over_bound_max, 0.0), ratio);
}

}  // namespace kvrm
