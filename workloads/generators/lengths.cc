#include "workloads/generators/lengths.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "harness/base/check.h"

namespace kvrm {
namespace {

using Kind = LengthSpec::Kind;

// `min` and `max` bound drawn lengths; a fixed or trace length is taken as it is.
bool is_clamped(Kind kind) { return kind == Kind::lognormal || kind == Kind::quantiles; }

}  // namespace

double quantile_value(const LengthSpec& spec, double p) {
  KVRM_CHECK_EQ(spec.probabilities.size(), spec.values.size());
  KVRM_CHECK(spec.values.size() >= 2);
  const auto above =
      std::upper_bound(spec.probabilities.begin() + 1, spec.probabilities.end() - 1, p);
  const auto i = static_cast<std::size_t>(above - spec.probabilities.begin());
  const double share =
      (p - spec.probabilities[i - 1]) / (spec.probabilities[i] - spec.probabilities[i - 1]);
  return std::lerp(spec.values[i - 1], spec.values[i], share);
}

double LengthSource::draw(std::uint32_t row_tokens) {
  switch (spec_.kind) {
    case Kind::fixed:
      return spec_.value;
    case Kind::uniform:
      return spec_.min +
             static_cast<double>(random_.below(std::uint64_t{spec_.max} - spec_.min + 1));
    case Kind::lognormal:
      // The mean of a lognormal is exp(mu + sigma^2 / 2).
      return random_.lognormal(std::log(spec_.mean) - spec_.sigma * spec_.sigma / 2, spec_.sigma);
    case Kind::quantiles:
      return quantile_value(spec_, random_.uniform()) * spec_.scale;
    case Kind::trace:
      break;
  }
  return row_tokens * spec_.scale;
}

std::uint32_t LengthSource::next(std::uint32_t row_tokens) {
  constexpr double kLargest = std::numeric_limits<std::uint32_t>::max();
  double tokens = std::clamp(std::round(draw(row_tokens)), 1.0, kLargest);
  if (is_clamped(spec_.kind)) {
    tokens = std::max(tokens, static_cast<double>(spec_.min));
    if (spec_.max != 0) tokens = std::min(tokens, static_cast<double>(spec_.max));
  }
  return static_cast<std::uint32_t>(tokens);
}

}  // namespace kvrm
