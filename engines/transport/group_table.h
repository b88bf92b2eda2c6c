// Keeps every slot's transfer groups up to date as its history grows or changes, and says which
// entries of the step image that changes. It equals plan_groups() and plan_chunk_groups() of the
// whole table at any time; it does not know the image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engines/transport/group_planner.h"
#include "engines/transport/table_edits.h"
#include "harness/base/huge_array.h"
#include "harness/contract/engine.h"
#include "harness/contract/step_descriptor.h"

namespace kvrm {

struct GroupTableShape {
  std::uint32_t slots = 0;
  std::uint32_t max_blocks = 0;  // of one history
  std::uint32_t block_tokens = 0;
  std::uint32_t chunk_tokens = 0;
  MergePolicy policy;
};

class GroupTable {
 public:
  explicit GroupTable(const GroupTableShape& shape);

  // The slot's history has grown by these physical blocks; appends the edits that follow. Costs
  // what the blocks, groups and chunks touched cost.
  void append(SlotIndex slot, std::span<const BlockIndex> blocks, TableEdits& edits);
  // The slot's table is now this one, which equals the one before in its first `unchanged` blocks;
  // appends edits of the entries that differ. Costs what the rest of both tables costs.
  void replace(SlotIndex slot, std::span<const BlockIndex> table, std::uint32_t unchanged,
               TableEdits& edits);
  void replace(SlotIndex slot, std::span<const BlockIndex> table, TableEdits& edits) {
    replace(slot, table, 0, edits);
  }
  // The slot holds no history any more: every entry that it used is cleared.
  void clear(SlotIndex slot, TableEdits& edits) { replace(slot, {}, edits); }

  // Brings near what the next append() to the slot will write, which is far from what the last one
  // wrote: worth it a few appends ahead.
  void prefetch(SlotIndex slot) const {
    __builtin_prefetch(groups_.data() + std::size_t{slot} * group_stride_ + slots_[slot].groups, 1);
  }

  std::uint32_t blocks(SlotIndex slot) const { return slots_[slot].blocks; }
  std::uint32_t groups(SlotIndex slot) const { return slots_[slot].groups; }
  std::uint32_t streams(SlotIndex slot) const { return slots_[slot].streams; }
  // Of all slots together.
  std::uint64_t total_blocks() const { return total_blocks_; }
  std::uint64_t total_groups() const { return total_groups_; }
  std::uint64_t total_streams() const { return total_streams_; }
  const SizeHistogram& groups_by_blocks() const { return groups_by_blocks_; }
  std::size_t bytes() const;

 private:
  // One group, and how many streams there were before it, with the last one's first block (which
  // is anything at gap 0, where streams are groups). It ends where the next one begins, the last
  // one where the history does.
  struct Group {
    std::uint32_t logical = 0;
    BlockIndex physical = 0;
    std::uint32_t streams_before = 0;
    BlockIndex stream_before = 0;
  };
  struct SlotGroups {
    std::uint32_t blocks = 0;
    std::uint32_t groups = 0;
    std::uint32_t streams = 0;
    std::uint32_t chunks = 0;
    // Where groups > 0: the last group's first block, and the last stream, which is anything at
    // gap 0.
    std::uint32_t last_logical = 0;
    BlockIndex last_physical = 0;
    BlockStream stream;
  };

  // What a table was before replace(), from one of its groups on.
  struct Before {
    std::uint32_t first_group = 0;
    std::uint32_t groups = 0;
    std::uint32_t chunks = 0;
  };

  struct GroupRange {
    std::uint32_t first = 0;
    std::uint32_t end = 0;
  };

  static BlockIndex end_of(const SlotGroups& state) {  // behind the last group's last block
    return state.last_physical + (state.blocks - state.last_logical);
  }
  static void open_group(SlotGroups& state, Group* groups, BlockIndex first) {
    groups[state.groups++] = {.logical = state.blocks,
                              .physical = first,
                              .streams_before = state.streams,
                              .stream_before = state.stream.first};
    state.last_logical = state.blocks;
    state.last_physical = first;
  }
  Group* groups_of(SlotIndex slot) { return &groups_[std::size_t{slot} * group_stride_]; }
  void add_blocks(SlotIndex slot, std::span<const BlockIndex> blocks);
  static std::uint32_t add_singles(SlotGroups& state, Group* groups,
                                   std::span<const BlockIndex> blocks);
  void add_run(SlotGroups& state, Group* groups, BlockStream run);
  void add_to_streams(SlotGroups& state, BlockStream run) const;
  void add_totals(const SlotGroups& before, const SlotGroups& after);
  std::uint32_t last_group_within(SlotIndex slot, std::uint32_t blocks);
  void cut(SlotIndex slot, std::uint32_t blocks, std::uint32_t group);
  void emit_groups(SlotIndex slot, std::uint32_t begin, std::uint32_t end, TableEdits& edits);
  void append_one(SlotIndex slot, BlockIndex block, TableEdits& edits);
  void emit_new_chunks(SlotIndex slot, std::uint32_t first_group, TableEdits& edits);
  void emit_changed_groups(SlotIndex slot, const Before& before, TableEdits& edits);
  void emit_changed_chunks(SlotIndex slot, const Before& before, TableEdits& edits);

  std::uint32_t chunk_block(std::uint32_t chunk) const;
  static std::uint32_t group_at(const Group* groups, GroupRange range, std::uint32_t block);

  GroupTableShape shape_;
  std::vector<SlotGroups> slots_;
  std::uint32_t group_stride_ = 0;
  HugeArray<Group> groups_;  // [slots, group_stride_]
  // Scratch of replace(): the groups before from Before::first_group on, and one more that begins
  // where the history ended.
  std::vector<Group> old_;
  std::uint64_t total_blocks_ = 0;
  std::uint64_t total_groups_ = 0;
  std::uint64_t total_streams_ = 0;
  SizeHistogram groups_by_blocks_{};
};

}  // namespace kvrm
