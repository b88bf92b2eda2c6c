// The block pager: owns the ids of a pool's blocks and every logical history, and hands out
// histories by handle. It moves no bytes and knows no device, no slot and no request; the engine
// that uses it does. What copies of blocks it needs, it queues; the engine makes them happen.
//
// Queued copies are a numbered protocol:
//   1. append() and compact() queue copies; a table names a copy's destination from then on.
//   2. The engine takes copies() into its next step, which runs them all before it writes or reads
//      any KV, and then calls clear_copies(), after the step's begin_step().
// Until then no block of a queued copy is reused. No destination is a source or a destination of
// another queued copy, so they may run in any order. A copy whose destination nobody holds any
// more is cancelled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engines/history/block_pool.h"
#include "engines/history/block_run.h"
#include "engines/history/history_tables.h"
#include "harness/base/check.h"
#include "harness/base/ids.h"
#include "harness/base/mutation.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"

namespace kvrm {

struct PagerSpec {
  std::uint32_t blocks = 0;  // of the pool
  std::uint32_t block_tokens = 0;
  std::uint32_t max_histories = 0;
  std::uint32_t max_blocks_per_history = 0;  // retained, that is not trimmed
  Placement placement = Placement::lifo;
  // Each costs memory, and time for every block.
  bool counts_generations = false;  // block_generation() will be asked
  bool compacts = false;            // compact() will be called
};

// Names a history for as long as it is open. Once closed the generation no longer matches, and the
// handle can do nothing.
struct HistoryHandle {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;
};

enum class PagerOutcome : std::uint8_t {
  ok,
  out_of_blocks,  // nothing changed; blocks may come back when a history closes or a step completes
  too_long,       // nothing changed; more than max_blocks_per_history, or than 2^32 - 1 positions
  stale_handle,   // nothing changed; the history was closed
};

struct PagerCounters {
  std::uint64_t blocks_taken = 0;
  std::uint64_t blocks_given_back = 0;
  std::uint64_t blocks_quarantined = 0;  // of those given back
  std::uint64_t out_of_blocks = 0;
  std::uint64_t forks = 0;
  std::uint64_t copy_on_writes = 0;
  std::uint64_t compacted_blocks = 0;  // moved by compact()
  std::uint64_t merged_runs = 0;       // runs that compact() joined to their neighbour
};

// All storage is sized at construction; no operation allocates. Costs follow the blocks touched.
class BlockPager {
 public:
  explicit BlockPager(const PagerSpec& spec);

  // A new empty history, none when max_histories are open.
  std::optional<HistoryHandle> open();
  // A new history that shares the blocks of the first `length` positions, a partly filled last one
  // included; none when max_histories are open or the handle is stale. CHECKs that the history has
  // so many and has not trimmed any beyond. These positions must have been written, or be written
  // before the next step's copies run.
  std::optional<HistoryHandle> fork(HistoryHandle handle, std::uint32_t length);
  // Adds `tokens` positions at the end: all of them or none. A partly filled last block that is
  // shared is replaced by a new one, in this history alone, and the copy is queued.
  PagerOutcome append(HistoryHandle handle, std::uint32_t tokens) {
    if (!is_open(handle)) return PagerOutcome::stale_handle;
    History& history = histories_[handle.index];
    if (tokens > history.capacity - history.length) return append_slowly(handle.index, tokens);
    history.length += tokens;
    live_tokens_ += tokens;
    return PagerOutcome::ok;
  }
  // Keeps the first `length` positions. CHECKs that the history has so many and has not trimmed
  // any beyond.
  PagerOutcome truncate(HistoryHandle handle, std::uint32_t length);
  // Lets the first `blocks` retained blocks go; length() stays. CHECKs that so many are full.
  PagerOutcome trim_front(HistoryHandle handle, std::uint32_t blocks);
  PagerOutcome close(HistoryHandle handle);

  // Joins runs of open histories: moves whole runs, of blocks that are neither shared nor part of a
  // queued copy, to free blocks beside the run before or after them. Returns how many blocks it
  // moved, at most `budget_blocks`. It goes on where the last call ended; a call looks at a number
  // of blocks and histories that follows the budget, not the pool. CHECKs that the spec compacts.
  std::uint32_t compact(std::uint32_t budget_blocks);

  std::span<const BlockMove> copies() const { return pool_.copies(); }
  void clear_copies() { pool_.clear_copies(); }

  // Fences. A block given back between begin_step(e) and complete_step(e) is reused only after
  // complete_step(e), since step e may still touch it. Epochs rise; several steps may be in flight.
  void begin_step(Epoch epoch) { pool_.begin_step(epoch); }
  void complete_step(Epoch epoch) { pool_.complete_step(epoch); }

  bool is_open(HistoryHandle handle) const {
    return handle.index < histories_.size() &&
           KVRM_MUTATE(pager_handle_generation_unread,
                       histories_[handle.index].generation == handle.generation, true) &&
           handle.generation % 2 == 1;
  }
  // Of an open history (CHECKed): positions, trimmed ones included; blocks trimmed; physical blocks
  // retained, in logical order, from logical block trimmed() on; and the runs in them.
  std::uint32_t length(HistoryHandle handle) const { return get(handle).length; }
  std::uint32_t trimmed(HistoryHandle handle) const { return get(handle).trimmed; }
  std::span<const BlockIndex> table(HistoryHandle handle) const {
    return tables_.blocks(checked_index(handle));
  }
  std::uint32_t run_count(HistoryHandle handle) const {
    return tables_.runs(checked_index(handle));
  }
  // Changes whenever an entry that the table had changes or leaves, not when the table grows.
  std::uint32_t version(HistoryHandle handle) const {
    return tables_.version(checked_index(handle));
  }
  // Rises each time the block is handed out. Only where the spec says counts_generations.
  std::uint32_t block_generation(BlockIndex block) const { return pool_.generation(block); }

  const PagerSpec& spec() const { return spec_; }
  std::uint32_t free_blocks() const { return pool_.free_blocks(); }
  std::uint32_t quarantined_blocks() const { return pool_.quarantined_blocks(); }  // coming back
  // Held by histories, or kept for a queued copy.
  std::uint32_t live_blocks() const { return spec_.blocks - free_blocks() - quarantined_blocks(); }
  // Positions retained in all live blocks, those of a shared block once. A block that is or was
  // shared counts as its fullest history had it, until its last one writes or shortens it.
  std::uint64_t live_tokens() const { return live_tokens_; }
  std::uint32_t open_histories() const {
    return spec_.max_histories - static_cast<std::uint32_t>(unused_histories_.size());
  }
  // Runs of all open histories by size in blocks.
  const SizeHistogram& runs_by_blocks() const { return tables_.runs_by_blocks(); }
  // Of all open histories; a shared block counts once for each.
  std::uint64_t table_blocks() const { return tables_.blocks(); }
  PagerCounters counters() const;
  std::size_t bytes() const;  // host memory held

  // DESIGN 19, 1-5, 7 and 9, checked over all of the pool: what is broken, empty when nothing is.
  std::string check_invariants() const;

 private:
  struct History {
    std::uint32_t generation = 0;  // odd while open
    std::uint32_t length = 0;      // positions
    // Positions up to which append() may go without a look: no more than `length` where the last
    // block is partly filled and shared, else those in the blocks that it has.
    std::uint32_t capacity = 0;
    std::uint32_t trimmed = 0;  // blocks
  };

  const History& get(HistoryHandle handle) const {
    KVRM_CHECK(is_open(handle));
    return histories_[handle.index];
  }
  std::uint32_t checked_index(HistoryHandle handle) const {
    KVRM_CHECK(is_open(handle));
    return handle.index;
  }
  // Positions that a history's blocks hold, from position 0 on, and those not filled yet in the
  // last of them.
  std::uint64_t positions_in_blocks(std::uint32_t index) const {
    const std::uint64_t blocks = std::uint64_t{histories_[index].trimmed} + tables_.size(index);
    return blocks * spec_.block_tokens;
  }
  std::uint32_t blocks_for(std::uint32_t length) const {
    return length / spec_.block_tokens + (length % spec_.block_tokens != 0 ? 1 : 0);
  }
  std::uint32_t unfilled(std::uint32_t index) const {
    return static_cast<std::uint32_t>(positions_in_blocks(index) - histories_[index].length);
  }
  BlockIndex tail(std::uint32_t index) const { return tables_.blocks(index).back(); }
  std::uint32_t tail_tokens(std::uint32_t index) const {
    return spec_.block_tokens - unfilled(index);
  }
  PagerOutcome append_slowly(std::uint32_t index, std::uint32_t tokens);
  void copy_tail(std::uint32_t index);
  void add_blocks(std::uint32_t index, std::uint32_t count);
  void shorten(std::uint32_t index, std::uint32_t length);
  void drop_blocks(std::uint32_t index, std::uint32_t keep);
  void refresh_capacity(std::uint32_t index);
  void refresh_tail(std::uint32_t index);
  std::uint32_t counted_tail_tokens(std::uint32_t index) const {
    const std::uint32_t note = pool_.note(tail(index));
    return note != 0 ? note : tail_tokens(index);
  }
  // The note of a block: the positions that live_tokens() counts in it, recorded when a history
  // has fewer than another, until the last one settles it. 0: as many as any history has.
  void keep_counting(BlockIndex block, std::uint32_t tokens) {
    if (pool_.note(block) == 0) pool_.set_note(block, tokens);
  }

  std::uint32_t join_at_cursor(std::uint32_t budget, std::uint64_t& looks);
  bool move_if_possible(std::uint32_t entry, BlockRun run, std::int64_t first);
  void move_run(std::uint32_t entry, BlockRun run, BlockIndex first);

  std::string check_history(std::uint32_t index) const;
  std::string check_live_tokens() const;

  PagerSpec spec_;
  BlockPool pool_;
  HistoryTables tables_;            // [max_histories]
  std::vector<History> histories_;  // [max_histories]
  std::vector<std::uint32_t> unused_histories_;
  // Where compact() goes on: a history, and an entry of its table.
  struct {
    std::uint32_t history = 0;
    std::uint32_t entry = 0;
  } cursor_;
  std::uint64_t live_tokens_ = 0;
  PagerCounters counters_;  // those that are not the pool's
};

}  // namespace kvrm
