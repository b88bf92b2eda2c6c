// The free blocks of a pool and the order in which they are handed out: one small interface, one
// implementation per placement policy. It knows nothing of histories, reference counts or fences:
// those are the pager's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engines/history/block_run.h"
#include "engines/history/block_state.h"
#include "harness/base/check.h"
#include "harness/base/ids.h"
#include "harness/contract/engine_spec.h"

namespace kvrm {

class FreeList {
 public:
  virtual ~FreeList() = default;

  std::uint32_t count() const { return count_; }

  // Takes out.size() blocks, in the order in which a history will use them. `after` is the last
  // block that the history has, or kNoBlock. CHECKs that so many are free.
  void take(BlockIndex after, std::span<BlockIndex> out) {
    KVRM_CHECK(out.size() <= count_);  // no values: they would cost the hot path its registers
    count_ -= static_cast<std::uint32_t>(out.size());
    do_take(after, out);
  }

  // Gives blocks back, in the order in which a history had them. CHECKs that each one was `before`,
  // which is not BlockUse::free.
  void give(std::span<const BlockIndex> blocks, BlockUse before) {
    count_ += static_cast<std::uint32_t>(blocks.size());
    do_give(blocks, before);
  }

  // Whether every block of the run is in the pool and free.
  bool is_free(BlockRun run) const {
    return std::uint64_t{run.first} + run.blocks <= uses_.size() && do_is_free(run);
  }

  // Takes these very blocks; the order among the rest stays what it was. CHECKs that all are free.
  // Only of a list that was made for it.
  void take_run(BlockRun run) {
    KVRM_CHECK(is_free(run));
    count_ -= run.blocks;
    do_take_run(run);
  }

  // Every free block, in any order; costs the whole pool, for checks only.
  std::vector<BlockIndex> list() const { return do_list(); }

  // Host memory held.
  std::size_t bytes() const { return do_bytes(); }

 protected:
  explicit FreeList(std::span<BlockUse> uses)
      : uses_(uses), count_(static_cast<std::uint32_t>(uses.size())) {}
  BlockUse use(BlockIndex block) const { return uses_[block]; }
  void prefetch_use(BlockIndex block) const { __builtin_prefetch(&uses_.data()[block], 1); }
  // What every do_ does to each block that it takes or that it is given. CHECKs that the block was
  // `before`.
  void make_owned(BlockIndex block) { change(block, BlockUse::free, BlockUse::owned); }
  void make_free(BlockIndex block, BlockUse before) { change(block, before, BlockUse::free); }

 private:
  void change(BlockIndex block, BlockUse before, BlockUse after) {
    KVRM_CHECK(uses_[block] == before);
    uses_[block] = after;
  }
  virtual void do_take(BlockIndex after, std::span<BlockIndex> out) = 0;
  virtual void do_give(std::span<const BlockIndex> blocks, BlockUse before) = 0;
  virtual bool do_is_free(BlockRun run) const = 0;
  virtual void do_take_run(BlockRun run) = 0;
  virtual std::vector<BlockIndex> do_list() const = 0;
  virtual std::size_t do_bytes() const = 0;

  std::span<BlockUse> uses_;  // [blocks of the pool]
  std::uint32_t count_ = 0;
};

// All blocks free, and BlockUse::free in `uses` [blocks], where every block that is taken becomes
// BlockUse::owned. `takes_runs`: take_run() will be called; otherwise lifo saves the memory for it,
// and the time. A block costs O(1) with lifo, one bitmap word per level (64-ary) with
// address_ordered, and O(log blocks) with extent.
std::unique_ptr<FreeList> make_free_list(Placement placement, bool takes_runs,
                                         std::span<BlockUse> uses);

}  // namespace kvrm
