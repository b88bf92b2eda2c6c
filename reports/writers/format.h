// Numbers, points and groups of engines as text, shared by the tables for people.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "harness/result/results.h"

namespace kvrm {

inline constexpr const char* kNotAvailable = "n/a";

// Four significant digits, at most six characters for values below 10^6: 1.234, 98.77, 12346, inf.
std::string format_value(double value);
// Three decimals, for shares and ratios.
std::string format_ratio(double value);
// A count: exact below ten million, then four digits and a unit of thousands: 12.35M, 4.100G.
std::string format_count(std::uint64_t count);
// "12.3 [11.8, 12.9]"; without an interval the value alone.
std::string format_estimate(const Estimate& estimate);
std::string format_estimate(const std::optional<Estimate>& estimate);

// "batch = 16, model = 8b"; empty without axes.
std::string format_point(const std::map<std::string, std::string>& point);

// One sentence on how far an approximate engine is from exact attention; empty for others.
std::string format_far_history(const EngineResult& engine);

// Engines of one point, which stand together in a result.
std::vector<std::span<const EngineResult>> engines_by_point(const ExperimentResult& result);

// The engine's metrics where its status lets a report show them, else null.
const RunMetrics* shown_metrics(const EngineResult& engine);

// Whether an engine can be the best of a column: `null` answers without decoding and a far history
// with another answer, so they cannot.
bool competes(const EngineResult& engine);
// The best of competing values; none where fewer than two compete or all are the same.
std::optional<double> best_of(std::span<const double> values, bool larger_is_better);

// n/a where the engine shows no metrics or the percentile has too few observations.
std::optional<Estimate> percentile_of_row(const EngineResult& engine,
                                          PercentileRow LatencyMetrics::*row,
                                          const std::string& percentile);

}  // namespace kvrm
