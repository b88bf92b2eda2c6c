#include "harness/metrics/columns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace kvrm {
namespace {

TEST(MetricColumns, AreTheDictionarysNumbersAndPercentiles) {
  const std::vector<std::string> names = metric_column_names();
  EXPECT_THAT(names, testing::IsSupersetOf({"metrics.itl_ms.p50", "metrics.itl_ms.p99.9",
                                            "metrics.output_tokens_per_s", "metrics.steady",
                                            "movement.groups_per_step", "slots"}));
  for (const char* none : {"metrics.itl_ms", "metrics.from_histogram", "comparisons.ratio"}) {
    EXPECT_EQ(std::set(names.begin(), names.end()).count(none), 0U) << none;
    EXPECT_FALSE(find_metric_column(none).has_value()) << none;
  }
  std::size_t expected = 0;
  for (const MetricEntry& entry : metric_dictionary()) {
    expected += entry.form == MetricForm::number ? 1 : 0;
    expected += entry.form == MetricForm::percentiles ? 6 : 0;
  }
  EXPECT_EQ(names.size(), expected);
}

TEST(MetricColumns, AreFoundByTheirNames) {
  for (const std::string& name : metric_column_names()) {
    const std::optional<MetricColumn> column = find_metric_column(name);
    ASSERT_TRUE(column.has_value()) << name;
    const std::string percentile(column->percentile);
    EXPECT_EQ(std::string(column->entry->name) + (percentile.empty() ? "" : "." + percentile),
              name);
  }
  EXPECT_EQ(find_metric_column("metrics.itl_ms.p99.9")->percentile, "p99.9");
  EXPECT_EQ(find_metric_column("metrics.itl_ms.p99.9")->entry->unit, "ms");
  EXPECT_FALSE(find_metric_column("metrics.itl_ms.p98").has_value());
}

}  // namespace
}  // namespace kvrm
