// The columns that a table of engines can have: every number of the metric dictionary by its name,
// a percentile as NAME.p99. How a column looks is the writers' business.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/metrics/dictionary.h"

namespace kvrm {

struct MetricColumn {
  const MetricEntry* entry = nullptr;
  std::string_view percentile;  // "p99"; empty for a number
};

// In the order of the dictionary.
std::vector<std::string> metric_column_names();

// None where no column has this name.
std::optional<MetricColumn> find_metric_column(std::string_view name);

}  // namespace kvrm
