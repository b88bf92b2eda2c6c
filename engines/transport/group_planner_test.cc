// Groups, streams and chunk entries of tables small enough to read; random tables are in
// property_tests/models.
#include "engines/transport/group_planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <vector>

#include "engines/transport/group_table.h"

namespace kvrm {
namespace {

using ::testing::ElementsAre;

struct Parts {  // logical, physical, blocks
  std::uint32_t logical, physical, blocks;
  bool operator==(const Parts&) const = default;
};

std::vector<Parts> groups_of(const std::vector<BlockIndex>& table, const MergePolicy& policy) {
  std::vector<Parts> result;
  for (const KvGroup& group : plan_groups(table, policy)) {
    result.push_back({group.logical, group.physical, group.blocks});
  }
  return result;
}

TEST(GroupPlanner, GroupsAreAscendingAdjacentRuns) {
  const std::vector<BlockIndex> table{4, 5, 6, 8, 7, 0, 1};
  EXPECT_THAT(groups_of(table, {}),
              ElementsAre(Parts{0, 4, 3}, Parts{3, 8, 1}, Parts{4, 7, 1}, Parts{5, 0, 2}));
  EXPECT_THAT(groups_of({}, {}), ElementsAre());
}

TEST(GroupPlanner, TheCapCutsGroups) {
  const std::vector<BlockIndex> table{4, 5, 6, 7, 8};
  EXPECT_THAT(groups_of(table, {.max_group_blocks = 2}),
              ElementsAre(Parts{0, 4, 2}, Parts{2, 6, 2}, Parts{4, 8, 1}));
}

TEST(GroupPlanner, AGapJoinsStreamsAndNeverGroups) {
  const std::vector<BlockIndex> table{4, 5, 8, 9, 13, 12};
  const MergePolicy gap{.max_gap_blocks = 2};
  EXPECT_EQ(plan_groups(table, gap).size(), 4U);
  const std::vector<BlockStream> streams = plan_streams(table, gap);  // 4..9, 13 (hole of 3), 12
  ASSERT_EQ(streams.size(), 3U);
  EXPECT_EQ(streams[0].first, 4U);
  EXPECT_EQ(streams[0].end, 10U);
  EXPECT_EQ(plan_streams(table, {.max_gap_blocks = 3}).size(), 2U);
  EXPECT_EQ(plan_streams(table, {.max_gap_blocks = 2, .max_group_blocks = 5}).size(), 4U);
}

TEST(GroupPlanner, AChunkPointsAtTheGroupOfItsFirstBlock) {
  const std::vector<KvGroup> groups = plan_groups(std::vector<BlockIndex>{0, 1, 2, 9, 10}, {});
  EXPECT_THAT(plan_chunk_groups(groups, 16, 32), ElementsAre(0, 0, 1));
  EXPECT_THAT(plan_chunk_groups(groups, 32, 16), ElementsAre(0, 0, 0, 0, 0, 0, 1, 1, 1, 1));
  EXPECT_THAT(plan_chunk_groups(groups, 48, 80), ElementsAre(0, 0, 1));
}

// The words of one edit of groups, and its values.
std::vector<std::uint64_t> edit_words(const TableEdit& edit, std::vector<std::uint64_t> values) {
  const auto head = std::bit_cast<std::array<std::uint64_t, 2>>(edit);
  values.insert(values.begin(), head.begin(), head.end());
  return values;
}

TEST(GroupTable, AnAppendedBlockEditsOneGroupEntry) {
  GroupTable table(
      {.slots = 2, .max_blocks = 8, .block_tokens = 16, .chunk_tokens = 32, .policy = {}});
  TableEdits edits;
  table.append(1, std::vector<BlockIndex>{7, 8}, edits);
  EXPECT_EQ(edits.count(), 2U);  // one group of two blocks, then the first chunk's entry
  edits.clear();
  table.append(1, std::vector<BlockIndex>{9}, edits);
  EXPECT_EQ(edits.count(), 2U);  // a chunk begins, in group 0
  edits.clear();
  table.append(1, std::vector<BlockIndex>{3}, edits);
  EXPECT_THAT(edits.words(),
              ::testing::ElementsAreArray(edit_words(
                  {.slot = 1, .count = 1, .index = 1, .logical = 3}, {pack_group(3, 1)})));
  EXPECT_EQ(table.groups_by_blocks()[0], 1U);
  EXPECT_EQ(table.groups_by_blocks()[1], 1U);
  edits.clear();
  table.clear(1, edits);  // both groups in one edit; the chunks' entries are zero as they are
  EXPECT_THAT(edits.words(),
              ::testing::ElementsAreArray(edit_words({.slot = 1, .count = 2, .index = 0}, {0, 0})));
  EXPECT_EQ(table.total_blocks(), 0U);
  EXPECT_EQ(table.groups_by_blocks(), SizeHistogram{});
}

TEST(GroupTable, AReplacementEditsWhatDiffers) {
  GroupTable table(
      {.slots = 1, .max_blocks = 8, .block_tokens = 16, .chunk_tokens = 16, .policy = {}});
  TableEdits edits;
  table.append(0, std::vector<BlockIndex>{4, 5, 9, 1}, edits);
  edits.clear();
  table.replace(0, std::vector<BlockIndex>{4, 5, 7, 1}, edits);
  EXPECT_THAT(edits.words(),
              ::testing::ElementsAreArray(edit_words(
                  {.slot = 0, .count = 1, .index = 1, .logical = 2}, {pack_group(7, 1)})));
  edits.clear();
  table.replace(0, std::vector<BlockIndex>{4, 5, 7, 1}, 4, edits);
  EXPECT_TRUE(edits.empty());
  // Joining the tail to the first group leaves one group, and every chunk in it.
  table.replace(0, std::vector<BlockIndex>{4, 5, 6, 7}, 2, edits);
  EXPECT_EQ(edits.count(), 2U);
  EXPECT_EQ(table.groups(0), 1U);
}

TEST(TableEdits, EntriesThatFollowEachOtherAreOneEdit) {
  TableEdits edits;
  edits.set_value(3, StepTable::far_bias, 5, 10);
  edits.set_value(3, StepTable::far_bias, 6, 11);
  edits.set_value(3, StepTable::far_bias, 7, 12);
  EXPECT_THAT(edits.words(), ::testing::ElementsAreArray(edit_words(
                                 {.slot = 3, .table = StepTable::far_bias, .count = 3, .index = 5},
                                 {10 | std::uint64_t{11} << 32, 12})));
  edits.set_value(3, StepTable::far_bias, 9, 13);
  edits.set_value(4, StepTable::far_bias, 10, 13);
  edits.set_value(4, StepTable::chunk_group, 11, 13);
  EXPECT_EQ(edits.count(), 4U);
  edits.clear();
  edits.set_group(0, 1, {.logical = 2, .physical = 9, .blocks = 3});
  edits.set_group(0, 2, {.logical = 5, .physical = 1, .blocks = 1});
  edits.set_group(0, 3, {.logical = 7, .physical = 2, .blocks = 1});  // not where the last ends
  edits.set_group(0, 4, {});
  edits.set_group(0, 5, {});
  edits.set_group(0, 6, {.logical = 8, .physical = 5, .blocks = 1});  // behind a cleared entry
  EXPECT_EQ(edits.count(), 3U);
  edits.set_group(0, 7, {});
  edits.set_group(0, 8, {.logical = 0, .physical = 3, .blocks = 1});  // where a cleared one ends
  EXPECT_EQ(edits.count(), 4U);
}

}  // namespace
}  // namespace kvrm
