// The parts under the pager against plain sets: bitmap, run tree, and what each placement promises.
#include "engines/history/free_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "engines/history/block_bitmap.h"
#include "engines/history/free_run_tree.h"
#include "harness/base/prng.h"

namespace kvrm {
namespace {

const std::vector<std::uint32_t> kPoolSizes{1, 63, 64, 65, 130, 4096, 4097, 9000};

TEST(BlockBitmap, EqualsASet) {
  for (const std::uint32_t blocks : kPoolSizes) {
    RandomStream random(blocks, "bitmap");
    BlockBitmap bitmap(blocks);
    std::set<BlockIndex> expected;
    for (int i = 0; i < 4000; ++i) {
      const auto block = static_cast<BlockIndex>(random.below(blocks));
      if (expected.erase(block) > 0) {
        bitmap.erase(block);
      } else {
        bitmap.insert(block);
        expected.insert(block);
      }
      const auto from = static_cast<BlockIndex>(random.below(blocks + 1));
      const auto next = expected.lower_bound(from);
      ASSERT_EQ(bitmap.next(from), next == expected.end() ? kNoBlock : *next) << blocks;
      ASSERT_EQ(bitmap.lowest(), expected.empty() ? kNoBlock : *expected.begin());
    }
  }
}

std::vector<BlockRun> runs_of(const std::vector<bool>& free) {
  std::vector<BlockRun> runs;
  for (BlockIndex block = 0; block < free.size(); ++block) {
    if (!free[block]) continue;
    if (block == 0 || !free[block - 1]) runs.push_back({block, 0});
    ++runs.back().blocks;
  }
  return runs;
}

TEST(FreeRunTree, FindsTheLowestLargestRun) {
  for (const std::uint32_t blocks : kPoolSizes) {
    RandomStream random(blocks, "runs");
    FreeRunTree tree(blocks);
    std::vector<bool> free(blocks, true);
    for (int i = 0; i < 600; ++i) {
      const auto first = static_cast<BlockIndex>(random.below(blocks));
      const bool was_free = free[first];
      std::uint32_t count = 0;
      const std::uint64_t wanted = 1 + random.below(100);
      while (count < wanted && first + count < blocks && free[first + count] == was_free) {
        free[first + count++] = !was_free;
      }
      was_free ? tree.erase({first, count}) : tree.insert({first, count});
      BlockRun expected;
      for (const BlockRun& run : runs_of(free)) {
        if (run.blocks > expected.blocks) expected = run;
      }
      ASSERT_EQ(tree.largest().blocks, expected.blocks) << blocks;
      if (expected.blocks > 0) {
        ASSERT_EQ(tree.largest().first, expected.first);
      }
      const auto from = static_cast<BlockIndex>(random.below(blocks));
      std::uint32_t following = 0;
      while (following < 80 && from + following < blocks && free[from + following]) ++following;
      ASSERT_EQ(tree.free_from(from, 80), following);
    }
  }
}

TEST(FreeList, LifoHandsOutTheBlockFreedLast) {
  std::vector<BlockUse> uses(8);
  const auto list = make_free_list(Placement::lifo, false, uses);
  std::vector<BlockIndex> taken(8);
  list->take(kNoBlock, taken);
  EXPECT_EQ(taken, (std::vector<BlockIndex>{0, 1, 2, 3, 4, 5, 6, 7}));
  list->give(std::vector<BlockIndex>{5, 2}, BlockUse::owned);
  list->give(std::vector<BlockIndex>{7}, BlockUse::owned);
  std::vector<BlockIndex> again(3);
  list->take(0, again);
  EXPECT_EQ(again, (std::vector<BlockIndex>{7, 5, 2}));
  EXPECT_EQ(list->count(), 0U);
}

TEST(FreeList, AddressOrderedHandsOutTheLowest) {
  std::vector<BlockUse> uses(200);
  const auto list = make_free_list(Placement::address_ordered, false, uses);
  std::vector<BlockIndex> taken(200);
  list->take(kNoBlock, taken);
  list->give(std::vector<BlockIndex>{150, 3, 77}, BlockUse::owned);
  std::vector<BlockIndex> again(2);
  list->take(199, again);
  EXPECT_EQ(again, (std::vector<BlockIndex>{3, 77}));
}

TEST(FreeList, ExtentExtendsInPlaceAndElseStartsInTheLargestRun) {
  std::vector<BlockUse> uses(100);
  const auto list = make_free_list(Placement::extent, false, uses);
  std::vector<BlockIndex> taken(10);
  list->take(kNoBlock, taken);
  EXPECT_EQ(taken.front(), 0U);  // nobody ends before the front of the pool
  EXPECT_EQ(taken.back(), 9U);
  std::vector<BlockIndex> other(4);
  list->take(kNoBlock, other);  // free: 10..99; its front half stays with the first history
  EXPECT_EQ(other, (std::vector<BlockIndex>{55, 56, 57, 58}));
  std::vector<BlockIndex> more(2);
  list->take(9, more);
  EXPECT_EQ(more, (std::vector<BlockIndex>{10, 11}));
  std::vector<BlockIndex> wide(43);  // the largest run, 12..54, is just enough
  list->take(kNoBlock, wide);
  EXPECT_EQ(wide.front(), 12U);
  std::vector<BlockIndex> rest(41);
  list->take(11, rest);
  EXPECT_EQ(rest.front(), 59U);
  EXPECT_EQ(list->count(), 0U);
}

// A list with the uses that a pool would keep beside it.
struct ListAndUses {
  ListAndUses(Placement placement, std::uint32_t blocks)
      : uses(blocks), list(make_free_list(placement, true, uses)) {}
  void give(BlockIndex block) const { list->give({&block, 1}, BlockUse::owned); }
  std::vector<BlockUse> uses;
  std::unique_ptr<FreeList> list;
};

TEST(FreeList, KnowsAndTakesAnyFreeRun) {
  for (const Placement placement :
       {Placement::lifo, Placement::address_ordered, Placement::extent}) {
    for (const std::uint32_t blocks : {1U, 64U, 65U, 200U}) {
      ListAndUses with(placement, blocks);
      RandomStream random(blocks, "take_run");
      std::set<BlockIndex> free;
      for (BlockIndex block = 0; block < blocks; ++block) free.insert(block);
      std::uint64_t runs_taken = 0;
      for (int i = 0; i < 5000; ++i) {
        const BlockRun run{static_cast<BlockIndex>(random.below(blocks)),
                           static_cast<std::uint32_t>(1 + random.below(4))};
        std::uint32_t found = 0;
        while (found < run.blocks && free.contains(run.first + found)) ++found;
        ASSERT_EQ(with.list->is_free(run), found == run.blocks);
        if (found == run.blocks && random.below(2) == 0) {
          with.list->take_run(run);
          for (std::uint32_t k = 0; k < run.blocks; ++k) free.erase(run.first + k);
          ++runs_taken;
        } else if (!free.empty() && random.below(2) == 0) {
          BlockIndex block = kNoBlock;
          with.list->take(kNoBlock, {&block, 1});
          ASSERT_EQ(free.erase(block), 1U);
        } else if (!free.contains(run.first)) {
          with.give(run.first);
          free.insert(run.first);
        }
        ASSERT_EQ(with.list->count(), free.size());
      }
      std::vector<BlockIndex> left = with.list->list();
      std::ranges::sort(left);
      EXPECT_TRUE(std::ranges::equal(left, free));
      EXPECT_GT(runs_taken, 0U);
    }
  }
}

TEST(FreeList, LifoKeepsItsOrderAroundATakenRun) {
  ListAndUses with(Placement::lifo, 8);
  std::vector<BlockIndex> taken(8);
  with.list->take(kNoBlock, taken);
  for (const BlockIndex block : {6U, 1U, 4U, 2U, 3U, 5U}) with.give(block);
  with.list->take_run({2, 2});  // the oldest ones, 6 and 1, take their places
  std::vector<BlockIndex> rest(4);
  with.list->take(kNoBlock, rest);
  EXPECT_EQ(rest, (std::vector<BlockIndex>{5, 1, 6, 4}));
}

TEST(FreeList, DoubleFreeIsCaught) {
  for (const Placement placement :
       {Placement::lifo, Placement::address_ordered, Placement::extent}) {
    std::vector<BlockUse> uses(70);
    const auto list = make_free_list(placement, false, uses);
    std::vector<BlockIndex> taken(2);
    list->take(kNoBlock, taken);
    list->give(taken, BlockUse::owned);
    EXPECT_DEATH(list->give(taken, BlockUse::owned), "CHECK failed");
    EXPECT_DEATH(list->give(taken, BlockUse::returned), "CHECK failed");
  }
}

}  // namespace
}  // namespace kvrm
