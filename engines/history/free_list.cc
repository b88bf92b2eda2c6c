#include "engines/history/free_list.h"

#include <algorithm>

#include "engines/history/block_bitmap.h"
#include "engines/history/free_run_tree.h"

namespace kvrm {
namespace {

// What most engines do: the block freed last is used first. A history's blocks go back last block
// first, so that the next history gets them in the order in which this one had them.
class LifoFreeList final : public FreeList {
 public:
  explicit LifoFreeList(std::uint32_t blocks) : FreeList(blocks), stack_(blocks), size_(blocks) {
    for (std::uint32_t i = 0; i < blocks; ++i) stack_[i] = blocks - 1 - i;
  }

 private:
  void do_take(BlockIndex, std::span<BlockIndex> out) override {
    for (BlockIndex& block : out) block = stack_[--size_];
  }

  void do_give(std::span<const BlockIndex> blocks) override {
    KVRM_CHECK_LE(size_ + blocks.size(), stack_.size());
    for (std::size_t i = blocks.size(); i > 0; --i) stack_[size_++] = blocks[i - 1];
  }

  std::vector<BlockIndex> do_list() const override {
    return {stack_.begin(), stack_.begin() + static_cast<std::ptrdiff_t>(size_)};
  }

  std::size_t do_bytes() const override { return stack_.size() * sizeof(BlockIndex); }

  std::vector<BlockIndex> stack_;  // [blocks], the first size_ are free
  std::size_t size_ = 0;
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
