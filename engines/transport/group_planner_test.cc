// Groups, streams and chunk entries of tables small enough to read; random tables are in
// property_tests/models.
#include "engines/transport/group_planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(GroupTable, AnAppendedBlockEditsOneGroupEntry) {
  GroupTable table({.slots = 2, .block_tokens = 16, .chunk_tokens = 64, .policy = {}});
  std::vector<TableEdit> edits;
  table.append(1, std::vector<BlockIndex>{7, 8}, edits);
  ASSERT_EQ(edits.size(), 2U);  // the first chunk's entry, then one group of two blocks
  EXPECT_EQ(edits[1].blocks, 2U);
  edits.clear();
  table.append(1, std::vector<BlockIndex>{9}, edits);
  ASSERT_EQ(edits.size(), 1U);
  EXPECT_EQ(edits[0].index, 0U);
  EXPECT_EQ(edits[0].blocks, 3U);
  edits.clear();
  table.append(1, std::vector<BlockIndex>{3}, edits);
  ASSERT_EQ(edits.size(), 1U);
  EXPECT_EQ(edits[0].index, 1U);
  EXPECT_EQ(edits[0].logical, 3U);
  edits.clear();
  table.clear(1, edits);
  EXPECT_EQ(edits.size(), 3U);
  EXPECT_EQ(table.total_blocks(), 0U);
}

}  // namespace
}  // namespace kvrm
