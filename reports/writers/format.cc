#include "reports/writers/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kvrm {

std::string format_value(double value) {
  if (std::isinf(value)) return "inf";
  const double size = std::abs(value);
  if (size >= 999'999.5) return fmt::format("{:.0e}", value);
  const int decimals = size < 9.9995 ? 3 : size < 99.995 ? 2 : size < 999.95 ? 1 : 0;
  return fmt::format("{:.{}f}", value, decimals);
}

std::string format_ratio(double value) {
  return std::isinf(value) ? "inf" : fmt::format("{:.3f}", value);
}

std::string format_count(std::uint64_t count) {
  if (count < 10'000'000) return fmt::format("{}", count);
  double value = static_cast<double>(count) / 1e6;
  for (const char* unit : {"M", "G", "T", "P"}) {
    if (value < 999.95) return format_value(value) + unit;
    value /= 1000;
  }
  return fmt::format("{:.0e}", static_cast<double>(count));
}

std::string format_estimate(const Estimate& estimate) {
  const std::string value = format_value(estimate.value);
  if (estimate.low == estimate.high) return value;
  return fmt::format("{} [{}, {}]", value, format_value(estimate.low), format_value(estimate.high));
}

std::string format_estimate(const std::optional<Estimate>& estimate) {
  return estimate ? format_estimate(*estimate) : kNotAvailable;
}

std::string format_point(const std::map<std::string, std::string>& point) {
  std::string text;
  for (const auto& [axis, value] : point) {
    text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", axis, value);
  }
  return text;
}

std::string format_far_history(const EngineResult& engine) {
  if (engine.status != RunStatus::approximate) return {};
  const ShadowError& shadow = engine.shadow;
  if (shadow.outputs == 0) return "no output that was checked had a summary to see";
  return fmt::format("error {:.2g} (max {:.2g}), bound {:.2g} ({:.2g}), error/bound at most {:.2g}",
                     shadow.error_mean(), shadow.error_max, shadow.bound_mean(), shadow.bound_max,
                     shadow.error_over_bound_max);
}

std::vector<std::span<const EngineResult>> engines_by_point(const ExperimentResult& result) {
  const std::span<const EngineResult> engines = result.engines;
  std::vector<std::span<const EngineResult>> groups;
  for (std::size_t first = 0; first < engines.size();) {
    std::size_t last = first + 1;
    while (last < engines.size() && engines[last].point == engines[first].point) ++last;
    groups.push_back(engines.subspan(first, last - first));
    first = last;
  }
  return groups;
}

const RunMetrics* shown_metrics(const EngineResult& engine) {
  return carries_metrics(engine.status) && engine.metrics ? &*engine.metrics : nullptr;
}

bool competes(const EngineResult& engine) {
  return shown_metrics(engine) != nullptr && engine.status != RunStatus::unchecked &&
         engine.status != RunStatus::approximate;
}

std::optional<double> best_of(std::span<const double> values, bool larger_is_better) {
  if (values.size() < 2) return std::nullopt;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  if (*least == *most) return std::nullopt;
  return larger_is_better ? *most : *least;
}

std::optional<Estimate> percentile_of_row(const EngineResult& engine,
                                          PercentileRow LatencyMetrics::*row,
                                          const std::string& percentile) {
  const RunMetrics* metrics = shown_metrics(engine);
  if (metrics == nullptr) return std::nullopt;
  const PercentileRow& values = metrics->latency.*row;
  const auto entry = values.find(percentile);
  return entry == values.end() ? std::nullopt : entry->second;
}

}  // namespace kvrm
