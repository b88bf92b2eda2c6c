// Far histories of all slots over one block pager: which blocks each holds (sinks, summary blocks,
// radii, window), what is due before a query, and the block table of its virtual history. The rule
// and the layout are FarHistory's; bytes are the device's, by the updates given out here.
//
// The life of a slot:
//   1. open()     takes every block that its first positions will ever need at a time
//   2. advance()  before the query at each position, in order: updates, and blocks that leave
//   3. extend()   room for one more position, and for the entry that it may make due
//   4. close()    gives everything back
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engines/history/block_pager.h"
#include "engines/history/far_history.h"
#include "harness/base/ids.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/step_descriptor.h"

namespace kvrm {

// The logit bias of an entry of a slot's far history.
struct FarBias {
  SlotIndex slot = 0;
  std::uint32_t entry = 0;
  float bias = 0;
};

// What must happen on the device before a query attends.
struct FarChanges {
  std::vector<FarUpdate> updates;  // in order
  std::vector<FarBias> biases;
  void clear() {
    updates.clear();
    biases.clear();
  }
  std::uint64_t summaries() const { return count(FarUpdateKind::summarise); }
  std::uint64_t merges() const { return count(FarUpdateKind::merge); }
  std::uint64_t count(FarUpdateKind kind) const;
};

class FarSlots {
 public:
  // Histories that the pager must allow for each slot.
  static constexpr std::uint32_t kHistoriesPerSlot = 4;

  // The pager outlives this. `tile_tokens` is the model's.
  FarSlots(const FarHistoryRule& rule, std::uint32_t tile_tokens, std::uint32_t slots,
           BlockPager& pager);

  // Blocks that open() would take.
  std::uint32_t blocks_to_open(std::uint32_t positions) const;
  // For a free slot, no positions written yet. CHECKs that the blocks are free.
  void open(SlotIndex slot, std::uint32_t positions);
  // All or nothing; false: no memory now.
  [[nodiscard]] bool extend(SlotIndex slot);
  void close(SlotIndex slot);

  // What is due before the query at `position`; a block that became an entry is given back to the
  // pager at once, so in a step its fence must have begun. Then makes sure that everything up to
  // `last` has its place: the last position before the next call, below next_due().
  void advance(SlotIndex slot, std::uint32_t position, std::uint32_t last, FarChanges& changes);
  // Takes up what the pager has changed by itself since (compaction); `last` as advance() was told.
  void settle(SlotIndex slot, std::uint32_t last) { rebuild_table(slots_[slot], last); }
  // The biases of all entries, for who has not followed the changes.
  void list_biases(SlotIndex slot, std::vector<FarBias>& biases) const;
  // First position before whose query something is due.
  std::uint32_t next_due(SlotIndex slot) const { return slots_[slot].far->next_due(); }

  FarView view(SlotIndex slot, std::uint32_t position) const {
    return slots_[slot].far->view(position, tile_tokens_);
  }
  // Physical blocks in the order of the virtual history up to the last position that advance() was
  // told. Those in the gap repeat a block of the history.
  std::span<const BlockIndex> table(SlotIndex slot) const { return slots_[slot].table; }
  // Changes when an entry that was in the table before has changed.
  std::uint64_t version(SlotIndex slot) const { return slots_[slot].version; }
  // block * block_tokens + offset of an exact position.
  std::uint64_t write_slot(SlotIndex slot, std::uint32_t position) const;
  std::uint32_t positions(SlotIndex slot) const { return slots_[slot].positions; }
  // Runs in the table; the gap starts a new one.
  std::uint32_t run_count(SlotIndex slot) const;
  std::size_t bytes() const;

 private:
  // What a slot's table was made from; equal ones make equal tables.
  struct TableSource {
    std::size_t sinks = 0;  // blocks
    std::size_t summaries = 0;
    std::uint32_t trimmed = 0;
    std::uint32_t last_block = 0;
    std::uint64_t pager_versions = 0;  // sum over the slot's histories
    bool operator==(const TableSource&) const = default;
  };
  struct Slot {
    std::optional<FarHistory> far;  // empty: free
    HistoryHandle sinks;
    HistoryHandle summaries;  // one position an entry
    HistoryHandle radii;
    HistoryHandle window;         // positions from sink_tokens on, trimmed at the front
    std::uint32_t positions = 0;  // that have, or had, room
    std::vector<BlockIndex> table;
    TableSource source;
    std::uint64_t version = 0;
  };

  bool append_all(Slot& slot);
  std::uint32_t entries_at(std::uint32_t positions) const;
  TableSource table_source(const Slot& slot, std::uint32_t last) const;
  void rebuild_table(Slot& slot, std::uint32_t last);
  BlockIndex physical(const Slot& slot, const FarBlock& block) const;
  FarUpdate record(const Slot& slot, const FarChange& change) const;

  FarHistoryRule rule_;
  std::uint32_t tile_tokens_;
  BlockPager& pager_;
  std::vector<Slot> slots_;
  std::vector<BlockIndex> scratch_;
};

}  // namespace kvrm
