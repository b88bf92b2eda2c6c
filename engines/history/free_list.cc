#include "engines/history/free_list.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "engines/history/block_bitmap.h"
#include "engines/history/free_run_tree.h"
#include "harness/base/huge_array.h"

namespace kvrm {
namespace {

// What most engines do: the block freed last is used first. A history's blocks go back last block
// first, so that the next history gets them in the order in which this one had them.
//
// The stack is a ring, so that a block can be taken out of its middle in O(1): the block freed
// longest ago moves from the bottom into the hole, and all others keep their order.
class LifoFreeList final : public FreeList {
 public:
  explicit LifoFreeList(std::span<BlockState> states)
      : FreeList(static_cast<std::uint32_t>(states.size())),
        states_(states),
        mask_(std::bit_ceil(std::max(count(), 1U)) - 1),
        ring_(std::size_t{mask_} + 1) {
    KVRM_CHECK_LE(count(), BlockState::kFree);
    std::vector<BlockIndex> all(count());
    std::iota(all.begin(), all.end(), 0U);
    do_give(all);
  }

 private:
  void do_take(BlockIndex, std::span<BlockIndex> out) override {
    // Not through the members: for all that the compiler knows, `out` may be one of them.
    const BlockIndex* const ring = ring_.data();
    const std::uint32_t mask = mask_;
    std::uint32_t top = top_;
    for (BlockIndex& block : out) block = ring[--top & mask];
    top_ = top;
    // What will be taken next lies anywhere in the pool.
    const auto soon = static_cast<std::uint32_t>(std::min<std::size_t>(out.size(), kAhead));
    for (std::uint32_t i = 0; i < soon; ++i) {
      __builtin_prefetch(&states_[ring_[(top_ - kAhead - i) & mask_]], 1);
    }
  }

  void do_give(std::span<const BlockIndex> blocks) override {
    KVRM_CHECK(top_ - bottom_ + blocks.size() <= states_.size());
    BlockIndex* const ring = ring_.data();
    BlockState* const states = states_.data();
    const std::uint32_t mask = mask_;
    std::uint32_t top = top_;
    for (std::size_t i = blocks.size(); i > 0; --i) {
      const BlockIndex block = blocks[i - 1];
      const std::uint32_t place = top++ & mask;
      KVRM_CHECK(states[block].word == 0);
      ring[place] = block;
      states[block].word = BlockState::kFree | place;
    }
    top_ = top;
  }

  bool do_is_free(BlockRun run) const override {
    for (std::uint32_t i = 0; i < run.blocks; ++i) {
      if ((states_[run.first + i].word & BlockState::kFree) == 0) return false;
    }
    return true;
  }

  void do_take_run(BlockRun run) override {
    for (std::uint32_t i = 0; i < run.blocks; ++i) {
      const std::uint32_t hole = states_[run.first + i].word & ~BlockState::kFree;
      const BlockIndex oldest = ring_[bottom_++ & mask_];
      ring_[hole] = oldest;
      states_[oldest].word = BlockState::kFree | hole;
    }
  }

  std::vector<BlockIndex> do_list() const override {
    std::vector<BlockIndex> result;
    for (std::uint32_t i = bottom_; i != top_; ++i) result.push_back(ring_[i & mask_]);
    return result;
  }

  std::size_t do_bytes() const override { return ring_.size() * sizeof(BlockIndex); }

  static constexpr std::uint32_t kAhead = 16;

  std::span<BlockState> states_;  // of a free block: its place in the ring
  // These count on for ever, modulo 2^32; the ring has them modulo its size.
  std::uint32_t bottom_ = 0;
  std::uint32_t top_ = 0;
  std::uint32_t mask_ = 0;
  HugeArray<BlockIndex> ring_;  // [power of two], from bottom_ to top_ the free blocks
};

// The lowest free address first: histories that start together stay close, and holes near the
// front fill before new ground is broken.
class AddressOrderedFreeList final : public FreeList {
 public:
  explicit AddressOrderedFreeList(std::uint32_t blocks) : FreeList(blocks), free_(blocks) {
    for (BlockIndex block = 0; block < blocks; ++block) free_.insert(block);
  }

 private:
  void do_take(BlockIndex, std::span<BlockIndex> out) override {
    for (BlockIndex& block : out) {
      block = free_.lowest();
      free_.erase(block);
    }
  }

  void do_give(std::span<const BlockIndex> blocks) override {
    for (const BlockIndex block : blocks) free_.insert(block);
  }

  bool do_is_free(BlockRun run) const override {
    for (std::uint32_t i = 0; i < run.blocks; ++i) {
      if (!free_.contains(run.first + i)) return false;
    }
    return true;
  }

  void do_take_run(BlockRun run) override {
    for (std::uint32_t i = 0; i < run.blocks; ++i) free_.erase(run.first + i);
  }

  std::vector<BlockIndex> do_list() const override {
    std::vector<BlockIndex> result;
    for (BlockIndex block = free_.lowest(); block != kNoBlock; block = free_.next(block + 1)) {
      result.push_back(block);
    }
    return result;
  }

  std::size_t do_bytes() const override { return free_.bytes(); }

  BlockBitmap free_;
};

// Extends the history's last run in place while the next block is free, and else starts in the
// largest free run. The start leaves room to grow: a free run that begins the pool is used from its
// front; of any other the front half is left to the history that ends before it, as far as the
// request's own blocks still fit in one piece.
class ExtentFreeList final : public FreeList {
 public:
  explicit ExtentFreeList(std::uint32_t blocks) : FreeList(blocks), free_(blocks) {}

 private:
  void do_take(BlockIndex after, std::span<BlockIndex> out) override {
    std::size_t done = 0;
    while (done < out.size()) {
      const auto wanted = static_cast<std::uint32_t>(out.size() - done);
      BlockRun run = following(after, wanted);
      if (run.blocks == 0) run = start_in_largest(wanted);
      for (std::uint32_t i = 0; i < run.blocks; ++i) out[done++] = run.first + i;
      free_.erase(run);
      after = run.first + run.blocks - 1;
    }
  }

  BlockRun following(BlockIndex after, std::uint32_t wanted) const {
    if (after == kNoBlock) return {};
    return {after + 1, free_.free_from(after + 1, wanted)};
  }

  BlockRun start_in_largest(std::uint32_t wanted) const {
    const BlockRun largest = free_.largest();
    const std::uint32_t blocks = std::min(wanted, largest.blocks);
    if (largest.first == 0) return {0, blocks};
    return {largest.first + std::min(largest.blocks / 2, largest.blocks - blocks), blocks};
  }

  void do_give(std::span<const BlockIndex> blocks) override {
    std::size_t i = 0;
    while (i < blocks.size()) {
      BlockRun run{blocks[i], 1};
      while (i + run.blocks < blocks.size() && blocks[i + run.blocks] == run.first + run.blocks) {
        ++run.blocks;
      }
      free_.insert(run);
      i += run.blocks;
    }
  }

  bool do_is_free(BlockRun run) const override {
    return free_.free_from(run.first, run.blocks) == run.blocks;
  }

  void do_take_run(BlockRun run) override { free_.erase(run); }

  std::vector<BlockIndex> do_list() const override { return free_.list(); }

  std::size_t do_bytes() const override { return free_.bytes(); }

  FreeRunTree free_;
};

}  // namespace

std::unique_ptr<FreeList> make_free_list(Placement placement, std::span<BlockState> states) {
  const auto blocks = static_cast<std::uint32_t>(states.size());
  switch (placement) {
    case Placement::lifo:
      return std::make_unique<LifoFreeList>(states);
    case Placement::address_ordered:
      return std::make_unique<AddressOrderedFreeList>(blocks);
    case Placement::extent:
      return std::make_unique<ExtentFreeList>(blocks);
  }
  KVRM_CHECK(false);
  return nullptr;
}

}  // namespace kvrm
