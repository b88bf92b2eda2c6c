// The benchmark runner: intervals, JSON, and every suite once at its tiny size.
#include "harness/bench/bench.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace kvrm {
namespace {

// P(low-th < median < high-th smallest) by summing the binomial directly.
double coverage(std::uint32_t count, MedianRanks ranks) {
  double inside = 0;
  for (std::uint32_t below = ranks.low + 1; below <= ranks.high; ++below) {
    double probability = 1;
    for (std::uint32_t i = 0; i < below; ++i)
      probability *= static_cast<double>(count - i) / (i + 1);
    for (std::uint32_t i = 0; i < count; ++i) probability /= 2;
    inside += probability;
  }
  return inside;
}

TEST(MedianInterval, CoversNinetyFivePercentAndIsTheNarrowestThatDoes) {
  for (std::uint32_t count = 6; count < 60; ++count) {
    const MedianRanks ranks = median_interval_ranks(count);
    EXPECT_GE(coverage(count, ranks), 0.95) << count;
    EXPECT_LT(coverage(count, {ranks.low + 1, ranks.high - 1}), 0.95) << count;
  }
}

TEST(RunCases, ReportsTheTimesThatTheCasesGave) {
  int calls = 0;
  const BenchCase steady{
      .suite = "s", .design = "steady", .shape = "x", .threads = 1, .measure = [] {
        return BenchSample{.elapsed = 5000, .operations = 100};
      }};
  const BenchCase rising{
      .suite = "s", .design = "rising", .shape = "x", .threads = 1, .measure = [&calls] {
        return BenchSample{.elapsed = 1000 * ++calls, .operations = 1};
      }};
  const std::vector<BenchRow> rows = run_cases({steady, rising}, 11);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_NEAR(rows[0].ns_per_op, 50, 1e-6);
  EXPECT_EQ(rows[0].repetitions, 11U);
  EXPECT_NEAR(rows[1].ns_per_op, 6000, 1e-6);
  EXPECT_NEAR(rows[1].ns_per_op_low, 2000, 1e-6);
  EXPECT_NEAR(rows[1].ns_per_op_high, 10000, 1e-6);
}

TEST(Suites, EachRunsAtItsTinySizeAndPrintsOnlyScalars) {
  const Registry registry = make_registry();
  for (const BenchSuite& suite : make_bench_suites()) {
    const auto report =
        run_suite(suite, registry, {.size = BenchSize::tiny, .repetitions = 1, .threads = {1}});
    ASSERT_TRUE(report.has_value()) << report.error().message;
    ASSERT_FALSE(report->rows.empty());
    const auto json = nlohmann::json::parse(report_to_json(*report));
    ASSERT_EQ(json["rows"].size(), report->rows.size());
    for (const auto& row : json["rows"]) {
      EXPECT_EQ(row["suite"], suite.name);
      EXPECT_GT(row["ns_per_op"].get<double>(), 0);
      for (const auto& field : row) EXPECT_TRUE(field.is_primitive());
    }
  }
}

}  // namespace
}  // namespace kvrm
