// The metric dictionary: what every number in a report means. The one table from which reports and
// docs/metrics.md take their text; nothing is computed here.
#pragma once

#include <span>
#include <string_view>

namespace kvrm {

struct MetricEntry {
  std::string_view name;     // path in an engine of results.json, or of a comparison
  std::string_view formula;  // one sentence
  std::string_view anchor;   // the events between which, or the moments at which, it is taken
  std::string_view unit;
  std::string_view
      pooling;  // how repeats and rows become one value, and where its interval is from
};

std::span<const MetricEntry> metric_dictionary();

}  // namespace kvrm
