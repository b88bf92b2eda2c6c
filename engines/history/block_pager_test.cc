// The pager's promises one by one; the long random comparison with a naive model is in
// property_tests/models.
#include "engines/history/block_pager.h"

#include <gtest/gtest.h>

#include <vector>

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

TEST(BlockPager, OneOfTwoThatShareATailCopiesAndTheOtherWritesInPlace) {
  BlockPager pager(small_pool(8));
  const HistoryHandle parent = *pager.open();
  ASSERT_EQ(pager.append(parent, 20), PagerOutcome::ok);
  const HistoryHandle child = *pager.fork(parent, 20);
  EXPECT_EQ(pager.live_blocks(), 2U);
  EXPECT_EQ(pager.live_tokens(), 20U);
  const std::uint32_t version = pager.version(child);
  ASSERT_EQ(pager.append(child, 1), PagerOutcome::ok);
  ASSERT_EQ(pager.append(parent, 1), PagerOutcome::ok);
  EXPECT_EQ(pager.counters().copy_on_writes, 1U);
  EXPECT_NE(pager.version(child), version);
  ASSERT_EQ(pager.copies().size(), 1U);
  EXPECT_EQ(pager.copies()[0].source, pager.table(parent)[1]);
  EXPECT_EQ(pager.copies()[0].destination, pager.table(child)[1]);
  EXPECT_EQ(pager.table(child)[0], pager.table(parent)[0]);
  EXPECT_EQ(pager.live_tokens(), 16U + 5U + 5U);
  EXPECT_EQ(pager.check_invariants(), "");
}

TEST(BlockPager, ABlockMayHaveMoreOwnersThanAByteSays) {
  constexpr std::uint32_t kForks = 3 * kMostPlainOwners / 2;
  BlockPager pager(
      {.blocks = 8, .block_tokens = 16, .max_histories = kForks + 1, .max_blocks_per_history = 6});
  const HistoryHandle parent = *pager.open();
  ASSERT_EQ(pager.append(parent, 40), PagerOutcome::ok);
  std::vector<HistoryHandle> forks;
  for (std::uint32_t i = 0; i < kForks; ++i) {
    forks.push_back(*pager.fork(parent, i % 8 == 7 ? 40 : 32));  // few share the tail
    ASSERT_EQ(pager.check_invariants(), "") << i;
  }
  EXPECT_EQ(pager.live_blocks(), 3U);
  for (const HistoryHandle fork : forks) {
    ASSERT_EQ(pager.close(fork), PagerOutcome::ok);
    ASSERT_EQ(pager.check_invariants(), "");
  }
  EXPECT_EQ(pager.live_blocks(), 3U);
  ASSERT_EQ(pager.close(parent), PagerOutcome::ok);
  EXPECT_EQ(pager.free_blocks(), 8U);
}

TEST(BlockPager, ACopyKeepsItsSourceUntilItIsTaken) {
  BlockPager pager(small_pool(4));
  const HistoryHandle parent = *pager.open();
  ASSERT_EQ(pager.append(parent, 8), PagerOutcome::ok);
  const HistoryHandle child = *pager.fork(parent, 8);
  ASSERT_EQ(pager.append(child, 1), PagerOutcome::ok);
  ASSERT_EQ(pager.close(parent), PagerOutcome::ok);
  EXPECT_EQ(pager.free_blocks(), 2U);  // no step is in flight, yet the source is still to be read
  pager.begin_step(1);
  pager.clear_copies();
  EXPECT_EQ(pager.free_blocks(), 2U);
  EXPECT_EQ(pager.quarantined_blocks(), 1U);
  pager.complete_step(1);
  EXPECT_EQ(pager.free_blocks(), 3U);
  EXPECT_EQ(pager.check_invariants(), "");
}

TEST(BlockPager, ACopyForNobodyIsCancelled) {
  BlockPager pager(small_pool(4));
  const HistoryHandle parent = *pager.open();
  ASSERT_EQ(pager.append(parent, 24), PagerOutcome::ok);
  const HistoryHandle child = *pager.fork(parent, 24);
  ASSERT_EQ(pager.append(child, 1), PagerOutcome::ok);
  ASSERT_EQ(pager.truncate(child, 16), PagerOutcome::ok);
  EXPECT_TRUE(pager.copies().empty());
  EXPECT_EQ(pager.free_blocks(), 2U);
  EXPECT_EQ(pager.check_invariants(), "");
}

TEST(BlockPager, AFailedCopyOnWriteChangesNothing) {
  BlockPager pager(small_pool(2));
  const HistoryHandle parent = *pager.open();
  ASSERT_EQ(pager.append(parent, 17), PagerOutcome::ok);
  const HistoryHandle child = *pager.fork(parent, 17);
  const std::uint32_t version = pager.version(child);
  EXPECT_EQ(pager.append(child, 1), PagerOutcome::out_of_blocks);
  EXPECT_EQ(pager.length(child), 17U);
  EXPECT_EQ(pager.version(child), version);
  EXPECT_TRUE(pager.copies().empty());
  ASSERT_EQ(pager.close(parent), PagerOutcome::ok);
  EXPECT_EQ(pager.append(child, 1), PagerOutcome::ok);  // nobody shares the tail any more
  EXPECT_EQ(pager.counters().copy_on_writes, 0U);
  EXPECT_EQ(pager.check_invariants(), "");
}

TEST(BlockPager, AWindowSlidesForEverInItsRow) {
  BlockPager pager(small_pool(8));
  const HistoryHandle history = *pager.open();
  const HistoryHandle other = *pager.open();
  ASSERT_EQ(pager.append(other, 16), PagerOutcome::ok);
  for (std::uint32_t length = 1; length <= 200'000; ++length) {
    ASSERT_EQ(pager.append(history, 1), PagerOutcome::ok);
    if (pager.table(history).size() == 6 && length % 16 == 0) {
      ASSERT_EQ(pager.trim_front(history, 1 + length / 16 % 3), PagerOutcome::ok);
    }
  }
  EXPECT_EQ(pager.length(history), 200'000U);
  EXPECT_EQ(pager.trimmed(history) + pager.table(history).size(), 200'000U / 16);
  EXPECT_EQ(pager.live_tokens(), 16U + pager.table(history).size() * 16);
  EXPECT_DEATH(pager.truncate(history, pager.trimmed(history) * 16 - 1), "CHECK failed");
  EXPECT_EQ(pager.check_invariants(), "");
}

TEST(BlockPager, TheLongestLengthIsKnown) {
  BlockPager pager(
      {.blocks = 4, .block_tokens = 1U << 30, .max_histories = 1, .max_blocks_per_history = 6});
  const HistoryHandle history = *pager.open();
  ASSERT_EQ(pager.append(history, ~0U), PagerOutcome::ok);
  EXPECT_EQ(pager.append(history, 1), PagerOutcome::too_long);
  EXPECT_EQ(pager.table(history).size(), 4U);
  EXPECT_EQ(pager.check_invariants(), "");
}

// Histories that grew in turns, so that each has only runs of one block; every second one ended.
class Interleaved : public ::testing::TestWithParam<Placement> {
 protected:
  Interleaved() {
    for (std::uint32_t i = 0; i < kHistories; ++i) histories_.push_back(*pager_.open());
    for (std::uint32_t block = 0; block < kBlocks; ++block) {
      for (std::uint32_t i = 0; i < kHistories; ++i) {
        // Whole histories at once would be one run each with `extent`.
        EXPECT_EQ(pager_.append(histories_[(i * 5 + block) % kHistories], 16), PagerOutcome::ok);
      }
    }
    for (std::uint32_t i = 0; i < kHistories; i += 2) pager_.close(histories_[i]);
  }
  std::uint64_t runs() const {
    std::uint64_t count = 0;
    for (const std::uint64_t sized : pager_.runs_by_blocks()) count += sized;
    return count;
  }
  // A step that does nothing else.
  std::uint32_t compact(std::uint32_t budget) {
    pager_.begin_step(++epoch_);
    const std::uint32_t moved = pager_.compact(budget);
    EXPECT_EQ(pager_.copies().size(), moved);
    pager_.clear_copies();
    EXPECT_EQ(pager_.quarantined_blocks(), moved);
    pager_.complete_step(epoch_);
    EXPECT_EQ(pager_.check_invariants(), "");
    return moved;
  }
  static constexpr std::uint32_t kHistories = 12;
  static constexpr std::uint32_t kBlocks = 40;
  BlockPager pager_{{.blocks = kHistories * kBlocks,
                     .block_tokens = 16,
                     .max_histories = kHistories,
                     .max_blocks_per_history = kBlocks,
                     .placement = GetParam(),
                     .compacts = true}};
  std::vector<HistoryHandle> histories_;
  Epoch epoch_ = 0;
};

TEST_P(Interleaved, SmallCompactionsReachEveryHistory) {
  const std::uint64_t before = runs();
  std::vector<std::uint32_t> runs_before;
  for (std::uint32_t i = 1; i < kHistories; i += 2) {
    runs_before.push_back(pager_.run_count(histories_[i]));
  }
  std::uint64_t moved = 0;
  for (int step = 0; step < 600; ++step) moved += compact(2);
  EXPECT_EQ(pager_.counters().compacted_blocks, moved);
  EXPECT_EQ(pager_.counters().merged_runs, before - runs());
  if (GetParam() == Placement::extent) return;  // it has joined most by itself
  EXPECT_LT(runs(), before / 2);
  for (std::uint32_t i = 1; i < kHistories; i += 2) {
    EXPECT_LT(pager_.run_count(histories_[i]), runs_before[i / 2]) << i;
  }
}

TEST_P(Interleaved, CompactionLeavesSharedBlocksAndQueuedCopiesAlone) {
  ASSERT_EQ(pager_.truncate(histories_[1], 40 * 16 - 3), PagerOutcome::ok);
  std::vector<HistoryHandle> forks;
  std::vector<std::vector<BlockIndex>> shared;
  for (std::uint32_t i = 1; i < kHistories; i += 2) {
    const HistoryHandle fork = *pager_.fork(histories_[i], pager_.length(histories_[i]));
    const std::span<const BlockIndex> table = pager_.table(fork);
    shared.emplace_back(table.begin(), table.end());
    forks.push_back(fork);
  }
  ASSERT_EQ(pager_.append(histories_[1], 1), PagerOutcome::ok);
  const BlockMove queued = pager_.copies()[0];
  EXPECT_EQ(pager_.compact(50), 0U);
  ASSERT_EQ(pager_.copies().size(), 1U);
  EXPECT_EQ(pager_.copies()[0].source, queued.source);
  EXPECT_EQ(pager_.table(histories_[1]).back(), queued.destination);
  for (std::size_t i = 0; i < forks.size(); ++i) {
    const std::span<const BlockIndex> table = pager_.table(forks[i]);
    EXPECT_EQ(shared[i], std::vector<BlockIndex>(table.begin(), table.end()));
  }
  EXPECT_EQ(pager_.check_invariants(), "");
}

INSTANTIATE_TEST_SUITE_P(Placements, Interleaved,
                         ::testing::Values(Placement::lifo, Placement::address_ordered,
                                           Placement::extent));

TEST(BlockPager, HistoriesRunOut) {
  BlockPager pager(small_pool(8));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(pager.open());
  EXPECT_FALSE(pager.open());
}

}  // namespace
}  // namespace kvrm
