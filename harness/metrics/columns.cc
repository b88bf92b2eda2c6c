#include "harness/metrics/columns.h"

#include "harness/stats/percentile.h"

namespace kvrm {
namespace {

struct NamedColumn {
  std::string name;
  MetricColumn column;
};

std::vector<NamedColumn> all_columns() {
  std::vector<NamedColumn> columns;
  for (const MetricEntry& entry : metric_dictionary()) {
    const std::string name(entry.name);
    if (entry.form == MetricForm::number) columns.push_back({name, {&entry, {}}});
    if (entry.form != MetricForm::percentiles) continue;
    for (const Percentile& percentile : kPercentiles) {
      columns.push_back({name + "." + std::string(percentile.name), {&entry, percentile.name}});
    }
  }
  return columns;
}

}  // namespace

std::vector<std::string> metric_column_names() {
  std::vector<std::string> names;
  for (const NamedColumn& named : all_columns()) names.push_back(named.name);
  return names;
}

std::optional<MetricColumn> find_metric_column(std::string_view name) {
  for (const NamedColumn& named : all_columns()) {
    if (named.name == name) return named.column;
  }
  return std::nullopt;
}

}  // namespace kvrm
