#include "engines/history/free_list.h"

#include <algorithm>
#include <bit>

#include "engines/history/block_bitmap.h"
#include "engines/history/free_run_tree.h"

namespace kvrm {
namespace {

// What most engines do: the block freed last is used first. A history's blocks go back last block
// first, so that the next history gets them in the order in which this one had them.
//
// The stack is a ring, so that a block can be taken out of its middle in O(1): the block freed
// longest ago moves from the bottom into the hole, and all others keep their order.
class LifoFreeList final : public FreeList {
 public:
  explicit LifoFreeList(std::uint32_t blocks)
      : FreeList(blocks),
        mask_(std::bit_ceil(std::max(blocks, 1U)) - 1),
        ring_(std::size_t{mask_} + 1),
        place_(blocks) {
    for (std::uint32_t i = 0; i < blocks; ++i) push(blocks - 1 - i);
  }

 private:
  void do_take(BlockIndex, std::span<BlockIndex> out) override {
    for (BlockIndex& block : out) block = ring_[--top_ & mask_];
  }

  void do_give(std::span<const BlockIndex> blocks) override {
    KVRM_CHECK_LE(top_ - bottom_ + blocks.size(), place_.size());
    for (std::size_t i = blocks.size(); i > 0; --i) push(blocks[i - 1]);
  }

  bool do_is_free(BlockRun run) const override {
    for (std::uint32_t i = 0; i < run.blocks; ++i) {
      if (!contains(run.first + i)) return false;
    }
    return true;
  }

  void do_take_run(BlockRun run) override {
    for (std::uint32_t i = 0; i < run.blocks; ++i) {
      const std::uint32_t hole = place_[run.first + i];
      const BlockIndex oldest = ring_[bottom_++ & mask_];
      ring_[hole & mask_] = oldest;
      place_[oldest] = hole;
    }
  }

  std::vector<BlockIndex> do_list() const override {
    std::vector<BlockIndex> result;
    for (std::uint32_t i = bottom_; i != top_; ++i) result.push_back(ring_[i & mask_]);
    return result;
  }

  std::size_t do_bytes() const override {
    return (ring_.size() + place_.size()) * sizeof(BlockIndex);
  }

  void push(BlockIndex block) {
    ring_[top_ & mask_] = block;
    place_[block] = top_++;
  }

  // A block that left keeps its old place; there the ring has ended or holds another one.
  bool contains(BlockIndex block) const {
    const std::uint32_t place = place_[block];
    return place - bottom_ < top_ - bottom_ && ring_[place & mask_] == block;
  }

  // Places count on for ever, modulo 2^32; the ring has them modulo its size.
  std::uint32_t bottom_ = 0;
  std::uint32_t top_ = 0;
  std::uint32_t mask_ = 0;
  std::vector<BlockIndex> ring_;      // [power of two], places bottom_ to top_ are the free blocks
  std::vector<std::uint32_t> place_;  // [blocks], of a free block; of others anything
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

std::unique_ptr<FreeList> make_free_list(Placement placement, std::uint32_t blocks) {
  switch (placement) {
    case Placement::lifo:
      return std::make_unique<LifoFreeList>(blocks);
    case Placement::address_ordered:
      return std::make_unique<AddressOrderedFreeList>(blocks);
    case Placement::extent:
      return std::make_unique<ExtentFreeList>(blocks);
  }
  KVRM_CHECK(false);
  return nullptr;
}

}  // namespace kvrm
