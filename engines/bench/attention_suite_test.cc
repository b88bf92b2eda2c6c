// The suite `attention` at its tiny size, and the placements that it measures.
#include "engines/bench/attention_suite.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "engines/bench/attention_shapes.h"
#include "engines/bench/kv_placement.h"
#include "engines/transport/group_planner.h"
#include "harness/driver/registry.h"

namespace kvrm {
namespace {

using ::testing::ElementsAre;

const char* const kFigures[] = {"threads",
                                "probe_gbps",
                                "kv_gbps",
                                "share_of_probe",
                                "share_of_probe_low",
                                "share_of_probe_high",
                                "ratio_to_contiguous"};

TEST(AttentionSuite, HasEveryDesignOfEveryShapeWithItsFigures) {
  const Registry registry = make_registry();
  const auto report = run_suite(attention_suite(), registry,
                                {.size = BenchSize::tiny, .repetitions = 7, .threads = {1, 2}});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_TRUE(report->skipped.empty());
  const auto json = nlohmann::json::parse(report_to_json(*report));
  std::map<std::string, std::set<std::string>> designs;
  for (const auto& row : json["rows"]) {
    EXPECT_EQ(row["suite"], "attention");
    designs[row["shape"].get<std::string>() + row["threads"].dump()].insert(row["design"]);
    for (const char* name : kFigures) EXPECT_GT(row.at(name).get<double>(), 0) << name;
    EXPECT_LE(row["share_of_probe_low"], row["share_of_probe"]);
    EXPECT_LE(row["share_of_probe"], row["share_of_probe_high"]);
    if (row["design"] == "contiguous") {
      EXPECT_EQ(row["ratio_to_contiguous"], 1.0);
    }
  }
  EXPECT_EQ(designs.size(), 6U);  // three number types, two thread counts
  for (const auto& [point, names] : designs) {
    EXPECT_THAT(names, ElementsAre("contiguous", "contiguous_full", "paged16", "paged64", "runs16",
                                   "runs64", "tile_copy"))
        << point;
  }
}

TEST(AttentionShapes, TheNamedOnesAreSixteenHistoriesInBf16) {
  const std::vector<AttentionShape> shapes = attention_shapes(BenchSize::full);
  for (const AttentionShape& shape : shapes) {
    if (shape.sweep) continue;
    EXPECT_EQ(shape.dtype, DType::bf16);
    EXPECT_EQ(shape.lengths.size(), 16U);
    EXPECT_EQ(shape.max_len, 2048U);
    EXPECT_EQ(shape.query_heads, 32U);
    EXPECT_EQ(shape.kv_heads, 8U);
    EXPECT_EQ(shape.head_dim, 128U);
  }
  EXPECT_EQ(shapes[0].name, "uniform-2048");
  EXPECT_EQ(shapes[0].live_positions(), 16U * 2048);
  EXPECT_EQ(shapes[1].name, "mixed-600");
  EXPECT_EQ(shapes[1].live_positions(), 9599U);
}

// Every physical block once, in runs of the length asked for.
TEST(RandomRuns, FillThePoolWithRunsOfTheLengthAskedFor) {
  for (const std::uint32_t run : {1U, 16U, 64U}) {
    const auto tables = random_runs(5, 128, run, 1);
    std::set<BlockIndex> blocks;
    std::size_t groups = 0;
    for (const auto& table : tables) {
      blocks.insert(table.begin(), table.end());
      ASSERT_EQ(table.size(), 128U);
      for (std::size_t i = 0; i < table.size(); ++i) {
        if (i % run != 0) {
          EXPECT_EQ(table[i], table[i - 1] + 1);
        }
      }
      groups += plan_groups(table, {}).size();
    }
    EXPECT_EQ(blocks.size(), 5U * 128);
    EXPECT_EQ(*blocks.rbegin(), 5U * 128 - 1);
    // Some runs happen to follow each other; most do not.
    EXPECT_GT(groups, 5 * 128 / run / 2);
  }
}

}  // namespace
}  // namespace kvrm
