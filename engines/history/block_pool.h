// The blocks of a pool: which are free, how many histories own each, which wait for a step to
// complete, and the copies between them that are queued for the next step. It knows no history and
// no position; those are the pager's.
//
// The life of a block:
//   1. free         in the free list, with no owner
//   2. live         owned by one history, or by several that share it
//   3. pinned       without an owner, but the source of a queued copy
//   4. quarantined  given back while a step that may touch it runs; free once that step completed
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engines/history/block_run.h"
#include "engines/history/block_state.h"
#include "engines/history/free_list.h"
#include "harness/base/check.h"
#include "harness/base/huge_array.h"
#include "harness/base/ids.h"
#include "harness/contract/engine_spec.h"

namespace kvrm {

struct PoolCounters {
  std::uint64_t blocks_taken = 0;
  std::uint64_t blocks_given_back = 0;
  std::uint64_t blocks_quarantined = 0;  // of those given back
};

struct PoolSpec {
  std::uint32_t blocks = 0;
  Placement placement = Placement::lifo;
  // Each costs memory, and time for every block.
  bool counts_generations = false;
  bool moves_runs = false;  // move_run() will be called
};

// All storage is sized at construction; no operation allocates. Costs follow the blocks touched.
class BlockPool {
 public:
  explicit BlockPool(const PoolSpec& spec);

  std::uint32_t blocks() const { return static_cast<std::uint32_t>(uses_.size()); }
  std::uint32_t free_blocks() const { return free_list_->count(); }
  std::uint32_t quarantined_blocks() const { return quarantine_size_; }
  bool is_free(BlockRun run) const { return free_list_->is_free(run); }

  // Takes out.size() free blocks, each with one owner, placed as FreeList::take says. CHECKs that
  // so many are free.
  void take(BlockIndex after, std::span<BlockIndex> out);
  // One more owner of a block that has one.
  void share(BlockIndex block);
  // One owner less of each; the blocks that had no other are given back, in this order. Returns
  // their number.
  std::uint32_t drop(std::span<const BlockIndex> blocks);
  // Moves the only ownership of each block of a run to the free run that begins at `first`, and
  // queues the copies.
  void move_run(BlockRun from, BlockIndex first);

  std::uint32_t owners(BlockIndex block) const { return word(block) & BlockDetail::kOwners; }
  // One owner, and in no queued copy: only that owner's table has to change when it moves.
  bool is_movable(BlockIndex block) const { return (word(block) & ~BlockDetail::kNoted) == 1; }
  // How often the block has been handed out. Only where the spec says counts_generations.
  std::uint32_t generation(BlockIndex block) const {
    KVRM_CHECK_LT(block, generations_.size());
    return generations_[block];
  }

  // A note of the owners', 0 when the block is handed out and when none has been left.
  std::uint32_t note(BlockIndex block) const {
    return (word(block) & BlockDetail::kNoted) != 0 ? details_[block].note : 0;
  }
  void set_note(BlockIndex block, std::uint32_t note);

  // Queues a copy to a block that was taken and not shared since. Both are kept from reuse: the
  // source until clear_copies(), the destination as long as it has owners; when the last one drops
  // it the copy is cancelled. A source that still waits for its own copy is replaced by that
  // copy's source, so that no destination is part of another copy.
  void queue_copy(BlockIndex source, BlockIndex destination);
  std::span<const BlockMove> copies() const { return copies_; }
  void clear_copies();

  // Fences, as BlockPager's.
  void begin_step(Epoch epoch);
  void complete_step(Epoch epoch);

  const PoolCounters& counters() const { return counters_; }
  std::size_t bytes() const;

  // What is broken given how many histories hold each block (owners, [blocks]); empty when nothing
  // is. Costs the whole pool.
  std::string check_invariants(std::span<const std::uint32_t> owners) const;

 private:
  struct Quarantined {
    Epoch fence = 0;
    BlockIndex block = 0;
  };
  bool is_taken(BlockIndex block) const {
    return uses_[block] != BlockUse::free && uses_[block] != BlockUse::returned;
  }
  // As BlockDetail has it, of any block.
  std::uint32_t word(BlockIndex block) const {
    const BlockUse use = uses_[block];
    if (use < BlockUse::special) return static_cast<std::uint32_t>(use);
    return use == BlockUse::special ? details_[block].word : 0;
  }
  // Of a block that is taken.
  void set_word(BlockIndex block, std::uint32_t word) {
    if (word > kMostPlainOwners) {
      details_[block].word = word;
      uses_[block] = BlockUse::special;
    } else {
      uses_[block] = word > 0 ? static_cast<BlockUse>(word) : BlockUse::returned;
    }
  }
  void count_taken(std::span<const BlockIndex> blocks);
  std::uint32_t drop_some_special(std::span<const BlockIndex> blocks);
  std::size_t drop_one(BlockIndex block, std::size_t retired);
  BlockIndex cancel_copy(BlockIndex destination);
  std::size_t unpin(BlockIndex source, std::size_t retired);
  void retire(std::span<const BlockIndex> blocks, BlockUse before);
  std::string check_sets() const;
  std::string check_copies() const;

  HugeArray<BlockUse> uses_;              // [blocks]
  HugeArray<BlockDetail> details_;        // [blocks]
  HugeArray<std::uint32_t> generations_;  // [blocks], or none
  std::unique_ptr<FreeList> free_list_;
  std::vector<BlockMove> copies_;        // at most one a block, storage for all
  std::vector<Quarantined> quarantine_;  // [blocks], a ring in order of fence
  std::uint32_t quarantine_begin_ = 0;
  std::uint32_t quarantine_size_ = 0;
  std::vector<BlockIndex> scratch_;  // [blocks], on their way to the free list
  Epoch begun_ = 0;
  Epoch completed_ = 0;
  PoolCounters counters_;
};

}  // namespace kvrm
