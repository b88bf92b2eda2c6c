// The metric dictionary: what every number in a report means. The one table from which reports and
// docs/metrics.md take their text; nothing is computed here.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace kvrm {

// Which of two engines' values is the better one, where one is.
enum class Better : std::uint8_t { neither, smaller, larger };

// What stands at the name in results.json: a number (or true, false, or a value with its interval),
// a row of percentiles, or what no table column can hold.
enum class MetricForm : std::uint8_t { number, percentiles, other };

struct MetricEntry {
  std::string_view name;     // path in an engine of results.json, or of a comparison
  std::string_view formula;  // one sentence
  std::string_view anchor;   // the events between which, or the moments at which, it is taken
  std::string_view unit;
  std::string_view
      pooling;  // how repeats and rows become one value, and where its interval is from
  Better better = Better::neither;
  MetricForm form = MetricForm::number;
};

std::span<const MetricEntry> metric_dictionary();

}  // namespace kvrm
