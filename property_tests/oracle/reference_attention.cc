#include "property_tests/oracle/reference_attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "harness/base/check.h"
#include "harness/base/mutation.h"

namespace kvrm {

double dot(std::span<const double> a, std::span<const double> b) {
  std::array<double, 8> sums{};
  const std::size_t whole = a.size() / 8 * 8;
  for (std::size_t i = 0; i < whole; i += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  double rest = 0;
  for (std::size_t i = whole; i < a.size(); ++i) rest += a[i] * b[i];
  return std::accumulate(sums.begin(), sums.end(), KVRM_MUTATE(oracle_dot_loses_rest, rest, 0.0));
}

double distance(std::span<const double> a, std::span<const double> b) {
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(squares);
}

void reference_attention(std::span<const double> query, const Attended& attended,
                         std::vector<double>& weights, std::span<double> output) {
  const std::size_t head_dim = query.size();
  const std::size_t positions = attended.keys.size() / head_dim;
  KVRM_CHECK_LT(0U, positions);
  const double scale =
      1.0 / KVRM_MUTATE(oracle_scale_by_dim, std::sqrt(static_cast<double>(head_dim)),
                        static_cast<double>(head_dim));
  weights.resize(positions);
  for (std::size_t i = 0; i < positions; ++i) {
    weights[i] = scale * dot(query, attended.keys.subspan(i * head_dim, head_dim));
    if (!attended.bias.empty()) weights[i] += attended.bias[i];
  }
  const double highest = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  for (double& weight : weights)
    sum += weight = std::exp(weight - KVRM_MUTATE(oracle_softmax_unshifted, highest, 0.0));

  std::fill(output.begin(), output.end(), 0.0);
  for (std::size_t i = 0; i < positions; ++i) {
    weights[i] /= sum;
    for (std::size_t d = 0; d < head_dim; ++d) {
      output[d] += weights[i] * attended.values[i * head_dim + d];
    }
  }
}

}  // namespace kvrm
