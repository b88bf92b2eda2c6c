#include "engines/history/free_list.h"

#include <algorithm>
#include <bit>

#include "engines/history/block_bitmap.h"
#include "engines/history/free_run_tree.h"
#include "harness/base/huge_array.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

// What most engines do: the block freed last is used first. A history's blocks go back last block
// first, so that the next history gets them in the order in which this one had them.
//
// The stack is a ring, so that a block can be taken out of its middle in O(1): the block freed
// longest ago moves from the bottom into the hole, and all others keep their order. Only then has
// it to know where in the ring a block is, which costs every block given back a cache line.
class LifoFreeList final : public FreeList {
 public:
  LifoFreeList(std::span<BlockUse> uses, bool takes_runs)
      : FreeList(uses),
        blocks_(count()),
        mask_(std::bit_ceil(std::max(count(), 1U)) - 1),
        ring_(std::size_t{mask_} + 1),
        places_(takes_runs ? count() : 0) {
    KVRM_CHECK_LE(count(), 1U << 31);
    for (BlockIndex block = blocks_; block-- > 0;) push(block);
  }

 private:
  void do_take(BlockIndex, std::span<BlockIndex> out) override {
    // Not through the members: for all that the compiler knows, `out` may be one of them.
    const BlockIndex* const ring = ring_.data();
    const std::uint32_t mask = mask_;
    std::uint32_t top = top_;
    for (BlockIndex& block : out) {
      const BlockIndex taken = ring[--top & mask];
      make_owned(taken);
      block = taken;
    }
    top_ = top;
    // What will be taken next lies anywhere in the pool.
    const auto soon = static_cast<std::uint32_t>(std::min<std::size_t>(out.size(), kAhead));
    for (std::uint32_t i = 0; i < soon; ++i) prefetch_use(ring[(top - kAhead - i) & mask]);
  }

  void do_give(std::span<const BlockIndex> blocks, BlockUse before) override {
    KVRM_CHECK(top_ - bottom_ + blocks.size() <= blocks_);
    if (places_.size() > 0) return give_noting_places(blocks, before);
    BlockIndex* const ring = ring_.data();
    const std::uint32_t mask = mask_;
    std::uint32_t top = top_;
    for (std::size_t i = blocks.size(); i > 0; --i) {
      const BlockIndex block = blocks[i - 1];
      make_free(block, before);
      ring[top++ & mask] = block;
    }
    top_ = top;
  }

  void give_noting_places(std::span<const BlockIndex> blocks, BlockUse before) {
    for (std::size_t i = blocks.size(); i > 0; --i) {
      make_free(blocks[i - 1], before);
      push(blocks[i - 1]);
    }
  }

  void push(BlockIndex block) { put(block, top_++ & mask_); }
  void put(BlockIndex block, std::uint32_t place) {
    ring_[place] = block;
    if (places_.size() > 0) places_[block] = place;
  }

  bool do_is_free(BlockRun run) const override {
    for (std::uint32_t i = 0; i < run.blocks; ++i) {
      if (use(run.first + i) != BlockUse::free) return false;
    }
    return true;
  }

  void do_take_run(BlockRun run) override {
    KVRM_CHECK_EQ(places_.size(), blocks_);
    for (std::uint32_t i = 0; i < run.blocks; ++i) {
      make_owned(run.first + i);
      const std::uint32_t hole = places_[run.first + i];
      KVRM_CHECK_EQ(ring_[hole], run.first + i);
      put(ring_[KVRM_MUTATE(free_list_hole_keeps_bottom, bottom_++, bottom_) & mask_], hole);
    }
  }

  std::vector<BlockIndex> do_list() const override {
    std::vector<BlockIndex> result;
    for (std::uint32_t i = bottom_; i != top_; ++i) result.push_back(ring_[i & mask_]);
    return result;
  }

  std::size_t do_bytes() const override { return ring_.bytes() + places_.bytes(); }

  static constexpr std::uint32_t kAhead = 16;

  std::uint32_t blocks_ = 0;  // of the pool
  // These count on for ever, modulo 2^32; the ring has them modulo its size.
  std::uint32_t bottom_ = 0;
  std::uint32_t top_ = 0;
  std::uint32_t mask_ = 0;
  HugeArray<BlockIndex> ring_;       // [power of two], from bottom_ to top_ the free blocks
  HugeArray<std::uint32_t> places_;  // [blocks] of the free ones: where in the ring; or none
};

// The lowest free address first: histories that start together stay close, and holes near the
// front fill before new ground is broken.
class AddressOrderedFreeList final : public FreeList {
 public:
  explicit AddressOrderedFreeList(std::span<BlockUse> uses) : FreeList(uses), free_(count()) {
    for (BlockIndex block = 0; block < count(); ++block) free_.insert(block);
  }

 private:
  void do_take(BlockIndex, std::span<BlockIndex> out) override {
    for (BlockIndex& block : out) {
      block = free_.lowest();
      free_.erase(block);
      make_owned(block);
    }
  }

  void do_give(std::span<const BlockIndex> blocks, BlockUse before) override {
    for (const BlockIndex block : blocks) {
      make_free(block, before);
      free_.insert(block);
    }
  }

  bool do_is_free(BlockRun run) const override {
    for (std::uint32_t i = 0; i < run.blocks; ++i) {
      if (!free_.contains(run.first + i)) return false;
    }
    return true;
  }

  void do_take_run(BlockRun run) override {
    for (std::uint32_t i = 0; i < run.blocks; ++i) {
      free_.erase(run.first + i);
      make_owned(run.first + i);
    }
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
  explicit ExtentFreeList(std::span<BlockUse> uses) : FreeList(uses), free_(count()) {}

 private:
  void do_take(BlockIndex after, std::span<BlockIndex> out) override {
    std::size_t done = 0;
    while (done < out.size()) {
      const auto wanted = static_cast<std::uint32_t>(out.size() - done);
      BlockRun run = following(after, wanted);
      if (run.blocks == 0) run = start_in_largest(wanted);
      do_take_run(run);
      for (std::uint32_t i = 0; i < run.blocks; ++i) out[done++] = run.first + i;
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

  void do_give(std::span<const BlockIndex> blocks, BlockUse before) override {
    for (const BlockIndex block : blocks) make_free(block, before);
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

  void do_take_run(BlockRun run) override {
    free_.erase({run.first, KVRM_MUTATE(free_list_run_tail_not_taken, run.blocks,
                                        run.blocks > 2 ? run.blocks - 1 : run.blocks)});
    for (std::uint32_t i = 0; i < run.blocks; ++i) make_owned(run.first + i);
  }

  std::vector<BlockIndex> do_list() const override { return free_.list(); }

  std::size_t do_bytes() const override { return free_.bytes(); }

  FreeRunTree free_;
};

}  // namespace

std::unique_ptr<FreeList> make_free_list(Placement placement, bool takes_runs,
                                         std::span<BlockUse> uses) {
  switch (placement) {
    case Placement::lifo:
      return std::make_unique<LifoFreeList>(uses, takes_runs);
    case Placement::address_ordered:
      return std::make_unique<AddressOrderedFreeList>(uses);
    case Placement::extent:
      return std::make_unique<ExtentFreeList>(uses);
  }
  KVRM_CHECK(false);
  return nullptr;
}

}  // namespace kvrm
