// Delta staging against a simulated memory: after every step a slot's view holds what the pool
// does, also where a block was freed and used again, and nothing was copied that lay there already.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "engines/transport/stage_tracker.h"
#include "harness/base/prng.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kBlock = 4;  // positions
constexpr std::uint32_t kSlots = 3;
constexpr std::uint32_t kMaxBlocks = 6;
constexpr std::uint32_t kPool = 24;
constexpr std::size_t kListCapacity = 5;  // copies of a step; more copy everything

struct StageCounts {
  std::uint64_t copied = 0;
  std::uint64_t already_there = 0;
  std::uint64_t fresh_tails = 0;  // blocks that only the step's token enters
  std::uint64_t reused = 0;       // the same block as before, with other content
  std::uint64_t replaced = 0;
  std::uint64_t dropped = 0;
  std::uint64_t everything = 0;
  std::uint64_t joined = 0;
};

struct Slot {
  bool used = false;
  std::vector<BlockIndex> table;
  std::uint32_t written = 0;
};

using Content = std::pair<BlockIndex, std::uint32_t>;  // block, generation

class Machine {
 public:
  Machine(std::uint64_t seed, std::uint32_t cap)
      : random_(seed, "stage"),
        cap_(cap),
        tracker_({.slots = kSlots,
                  .max_blocks = kMaxBlocks,
                  .block_tokens = kBlock,
                  .max_group_blocks = cap}) {
    for (BlockIndex block = 0; block < kPool; ++block) free_.push_back(block);
  }

  void step() {
    std::vector<StageCopy> copies;
    std::vector<SlotIndex> active;
    for (SlotIndex slot = 0; slot < kSlots; ++slot) {
      change(slot);
      if (!slots_[slot].used || one_in(6) || !extend(slot)) continue;
      plan(slot, copies);
      if (one_in(10)) {  // it ended after all
        std::erase_if(copies, [&](const StageCopy& copy) { return copy.slot == slot; });
        tracker_.forget(slot);
        staged_[slot].clear();
        ++counts.dropped;
      } else {
        active.push_back(slot);
      }
    }
    move(copies, active);
    for (const SlotIndex slot : active) append(slot);
    for (const SlotIndex slot : active) compare(slot);
  }

  StageCounts counts;

 private:
  std::uint32_t draw(std::uint32_t bound) {
    return static_cast<std::uint32_t>(random_.below(bound));
  }
  bool one_in(std::uint32_t count) { return draw(count) == 0; }

  bool take(BlockIndex& block) {
    if (free_.empty()) return false;
    // Mostly the block freed last, so that ids come back soon.
    const std::size_t at =
        one_in(3) ? draw(static_cast<std::uint32_t>(free_.size())) : free_.size() - 1;
    block = free_[at];
    free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(at));
    ++generations_[block];
    for (std::uint32_t i = 0; i < kBlock; ++i) pool_[block * kBlock + i] = 0xdead;
    return true;
  }

  void give(BlockIndex block) { free_.push_back(block); }

  // What happens to a history between two steps, all of it in the pool alone.
  void change(SlotIndex slot) {
    Slot& state = slots_[slot];
    if (!state.used) {
      if (one_in(2)) admit(slot);
    } else if (one_in(12)) {
      for (const BlockIndex block : state.table) give(block);
      state = {};
      if (one_in(2)) {  // the generations alone must do
        tracker_.forget(slot);
        staged_[slot].clear();
      }
    } else if (one_in(6)) {
      remap(state, draw(static_cast<std::uint32_t>(state.table.size())));
    } else if (one_in(12)) {
      state.written = 1 + draw(state.written);
      while ((state.table.size() - 1) * kBlock >= state.written) {
        give(state.table.back());
        state.table.pop_back();
      }
    } else if (one_in(12)) {  // far history overwrites a block in its place
      const BlockIndex block = state.table[draw(static_cast<std::uint32_t>(state.table.size()))];
      ++generations_[block];
      pool_[block * kBlock] = random_.next();
    }
  }

  void admit(SlotIndex slot) {
    Slot& state = slots_[slot];
    const std::uint32_t tokens = 1 + draw(kMaxBlocks * kBlock - 1);
    for (std::uint32_t position = 0; position < tokens; ++position) {
      BlockIndex block = 0;
      if (position % kBlock == 0) {
        if (!take(block)) break;
        state.table.push_back(block);
      }
      pool_[state.table.back() * kBlock + position % kBlock] = random_.next();
      state.written = position + 1;
    }
    state.used = state.written > 0;
  }

  // Copy on write, or compaction: the same content in another block.
  void remap(Slot& state, std::uint32_t logical) {
    BlockIndex block = 0;
    if (!take(block)) return;
    std::copy_n(pool_ + state.table[logical] * kBlock, kBlock, pool_ + block * kBlock);
    give(state.table[logical]);
    state.table[logical] = block;
    ++counts.replaced;
  }

  bool extend(SlotIndex slot) {
    Slot& state = slots_[slot];
    if (state.written == kMaxBlocks * kBlock) return false;
    if (state.written < state.table.size() * kBlock) return true;
    BlockIndex block = 0;
    if (!take(block)) return false;
    state.table.push_back(block);
    return true;
  }

  void plan(SlotIndex slot, std::vector<StageCopy>& copies) {
    const Slot& state = slots_[slot];
    std::map<std::uint32_t, Content>& staged = staged_[slot];
    std::set<std::uint32_t> expected;
    std::uint32_t unchanged = 0;
    for (std::uint32_t logical = 0; logical < state.table.size(); ++logical) {
      const BlockIndex block = state.table[logical];
      const Content content{block, generations_[block]};
      const bool there = staged.contains(logical) && staged[logical] == content;
      const bool reused = staged.contains(logical) && staged[logical].first == block && !there;
      const bool fresh = logical * kBlock >= state.written;
      counts.already_there += there ? 1 : 0;
      counts.reused += reused && !fresh ? 1 : 0;
      counts.fresh_tails += !there && fresh ? 1 : 0;
      if (!there && !fresh) expected.insert(logical);
      if (there && unchanged == logical) ++unchanged;
    }
    std::vector<std::uint32_t> generations;
    for (const BlockIndex block : state.table) generations.push_back(generations_[block]);
    std::vector<StageCopy> planned;
    tracker_.plan(slot, {state.table, generations, state.written, draw(unchanged + 1)}, planned);
    staged.clear();
    for (std::uint32_t logical = 0; logical < state.table.size(); ++logical) {
      staged[logical] = {state.table[logical], generations_[state.table[logical]]};
    }
    check_plan(slot, planned, expected);
    copies.insert(copies.end(), planned.begin(), planned.end());
  }

  void check_plan(SlotIndex slot, const std::vector<StageCopy>& planned,
                  const std::set<std::uint32_t>& expected) {
    std::set<std::uint32_t> covered;
    for (std::size_t i = 0; i < planned.size(); ++i) {
      const StageCopy& copy = planned[i];
      RC_ASSERT(copy.slot == slot);
      RC_ASSERT(copy.blocks > 0U && (cap_ == 0 || copy.blocks <= cap_));
      counts.joined += copy.blocks > 1 ? 1 : 0;
      for (std::uint32_t b = 0; b < copy.blocks; ++b) {
        RC_ASSERT(covered.insert(copy.logical + b).second);
        RC_ASSERT(slots_[slot].table[copy.logical + b] == copy.physical + b);
      }
      if (i == 0) continue;
      const StageCopy& before = planned[i - 1];
      const bool adjacent = before.logical + before.blocks == copy.logical &&
                            before.physical + before.blocks == copy.physical;
      RC_ASSERT(!adjacent || before.blocks == cap_);
    }
    RC_ASSERT(covered == expected);
    counts.copied += covered.size();
  }

  void move(const std::vector<StageCopy>& copies, const std::vector<SlotIndex>& active) {
    const auto stage = [&](const StageCopy& copy) {
      std::copy_n(pool_ + copy.physical * kBlock, copy.blocks * kBlock,
                  view_[copy.slot] + copy.logical * kBlock);
    };
    if (copies.size() <= kListCapacity) return std::ranges::for_each(copies, stage), void();
    ++counts.everything;
    for (const SlotIndex slot : active) {
      for (std::uint32_t logical = 0; logical < slots_[slot].table.size(); ++logical) {
        stage({slot, logical, slots_[slot].table[logical], 1});
      }
    }
  }

  // The append kernel: pool and view both.
  void append(SlotIndex slot) {
    Slot& state = slots_[slot];
    const std::uint64_t value = random_.next();
    pool_[state.table[state.written / kBlock] * kBlock + state.written % kBlock] = value;
    view_[slot][state.written] = value;
    ++state.written;
  }

  void compare(SlotIndex slot) {
    const Slot& state = slots_[slot];
    for (std::uint32_t position = 0; position < state.written; ++position) {
      const BlockIndex block = state.table[position / kBlock];
      RC_ASSERT(view_[slot][position] == pool_[block * kBlock + position % kBlock]);
    }
  }

  RandomStream random_;
  std::uint32_t cap_;
  StageTracker tracker_;
  std::vector<BlockIndex> free_;
  std::vector<std::uint32_t> generations_ =  // by block
      std::vector<std::uint32_t>(kPool);
  std::uint64_t pool_[kPool * kBlock] = {};
  std::uint64_t view_[kSlots][kMaxBlocks * kBlock] = {};
  Slot slots_[kSlots];
  std::map<std::uint32_t, Content> staged_[kSlots];  // by logical block, as it should be
};

TEST(StageTracker, TheViewIsThePoolAfterEveryStep) {
  StageCounts all;
  const bool holds = rc::check([&] {
    Machine machine(*rc::gen::arbitrary<std::uint64_t>(), *rc::gen::element(0U, 1U, 2U));
    for (int i = 0; i < 300; ++i) machine.step();
    all.copied += machine.counts.copied;
    all.already_there += machine.counts.already_there;
    all.fresh_tails += machine.counts.fresh_tails;
    all.reused += machine.counts.reused;
    all.replaced += machine.counts.replaced;
    all.dropped += machine.counts.dropped;
    all.everything += machine.counts.everything;
    all.joined += machine.counts.joined;
  });
  EXPECT_TRUE(holds);
  constexpr std::uint64_t kOften = 100;
  EXPECT_GT(all.copied, kOften);
  EXPECT_GT(all.already_there, kOften);
  EXPECT_GT(all.fresh_tails, kOften);
  EXPECT_GT(all.reused, kOften);
  EXPECT_GT(all.replaced, kOften);
  EXPECT_GT(all.dropped, kOften);
  EXPECT_GT(all.everything, kOften);
  EXPECT_GT(all.joined, kOften);
}

}  // namespace
}  // namespace kvrm
