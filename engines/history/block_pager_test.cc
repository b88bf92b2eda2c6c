// The pager's promises one by one; the long random comparison with a naive model is in
// property_tests/models.
#include "engines/history/block_pager.h"

#include <gtest/gtest.h>

namespace kvrm {
namespace {

PagerSpec small_pool(std::uint32_t blocks) {
  return {.blocks = blocks, .block_tokens = 16, .max_histories = 4, .max_blocks_per_history = 6};
}

TEST(BlockPager, AppendTakesBlocksOnlyAtTheirBorders) {
  BlockPager pager(small_pool(8));
  const HistoryHandle history = *pager.open();
  for (std::uint32_t length = 1; length <= 40; ++length) {
    ASSERT_EQ(pager.append(history, 1), PagerOutcome::ok);
    ASSERT_EQ(pager.length(history), length);
    ASSERT_EQ(pager.table(history).size(), (length + 15) / 16);
  }
  EXPECT_EQ(pager.counters().blocks_taken, 3U);
  EXPECT_EQ(pager.check_invariants(), "");
}

TEST(BlockPager, AFailedAppendChangesNothing) {
  BlockPager pager(small_pool(4));
  const HistoryHandle first = *pager.open();
  const HistoryHandle second = *pager.open();
  ASSERT_EQ(pager.append(first, 33), PagerOutcome::ok);
  EXPECT_EQ(pager.append(second, 17), PagerOutcome::out_of_blocks);
  EXPECT_EQ(pager.length(second), 0U);
  EXPECT_EQ(pager.free_blocks(), 1U);
  EXPECT_EQ(pager.append(first, 6 * 16), PagerOutcome::too_long);
  EXPECT_EQ(pager.append(first, ~0U), PagerOutcome::too_long);
  EXPECT_EQ(pager.length(first), 33U);
  EXPECT_EQ(pager.append(second, 16), PagerOutcome::ok);
  EXPECT_EQ(pager.check_invariants(), "");
}

TEST(BlockPager, AStaleHandleDoesNothing) {
  BlockPager pager(small_pool(8));
  const HistoryHandle old = *pager.open();
  ASSERT_EQ(pager.append(old, 20), PagerOutcome::ok);
  ASSERT_EQ(pager.close(old), PagerOutcome::ok);
  const HistoryHandle reused = *pager.open();
  ASSERT_EQ(reused.index, old.index);
  ASSERT_EQ(pager.append(reused, 30), PagerOutcome::ok);
  EXPECT_EQ(pager.append(old, 1), PagerOutcome::stale_handle);
  EXPECT_EQ(pager.truncate(old, 0), PagerOutcome::stale_handle);
  EXPECT_EQ(pager.close(old), PagerOutcome::stale_handle);
  EXPECT_EQ(pager.close(HistoryHandle{}), PagerOutcome::stale_handle);
  EXPECT_EQ(pager.length(reused), 30U);
  EXPECT_DEATH(pager.length(old), "CHECK failed");
}

TEST(BlockPager, ABlockIsNotReusedBeforeItsFence) {
  BlockPager pager(small_pool(4));
  const HistoryHandle first = *pager.open();
  ASSERT_EQ(pager.append(first, 64), PagerOutcome::ok);
  pager.begin_step(1);
  pager.begin_step(2);
  ASSERT_EQ(pager.close(first), PagerOutcome::ok);
  EXPECT_EQ(pager.quarantined_blocks(), 4U);
  const HistoryHandle second = *pager.open();
  EXPECT_EQ(pager.append(second, 1), PagerOutcome::out_of_blocks);
  pager.complete_step(1);  // step 2 may still read the blocks
  EXPECT_EQ(pager.append(second, 1), PagerOutcome::out_of_blocks);
  pager.complete_step(2);
  EXPECT_EQ(pager.append(second, 64), PagerOutcome::ok);
  EXPECT_EQ(pager.check_invariants(), "");
}

TEST(BlockPager, TruncateKeepsThePartialTailAndCountsRuns) {
  BlockPager pager(small_pool(8));
  const HistoryHandle first = *pager.open();
  const HistoryHandle second = *pager.open();
  ASSERT_EQ(pager.append(first, 32), PagerOutcome::ok);   // 0 1
  ASSERT_EQ(pager.append(second, 16), PagerOutcome::ok);  // 2
  ASSERT_EQ(pager.append(first, 32), PagerOutcome::ok);   // 3 4
  EXPECT_EQ(pager.run_count(first), 2U);
  ASSERT_EQ(pager.truncate(first, 33), PagerOutcome::ok);
  EXPECT_EQ(pager.table(first).size(), 3U);
  EXPECT_EQ(pager.run_count(first), 2U);
  ASSERT_EQ(pager.truncate(first, 32), PagerOutcome::ok);
  EXPECT_EQ(pager.run_count(first), 1U);
  EXPECT_EQ(pager.live_tokens(), 48U);
  EXPECT_EQ(pager.check_invariants(), "");
}

TEST(BlockPager, HistoriesRunOut) {
  BlockPager pager(small_pool(8));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(pager.open());
  EXPECT_FALSE(pager.open());
}

}  // namespace
}  // namespace kvrm
