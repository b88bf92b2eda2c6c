// Keeps every slot's transfer groups up to date as its history grows, block by block, and says
// which entries of the step image that changes. It holds no groups itself, only where each slot's
// last one ends, and equals plan_groups() of the whole table at any time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engines/transport/group_planner.h"
#include "harness/contract/step_descriptor.h"

namespace kvrm {

struct GroupTableShape {
  std::uint32_t slots = 0;
  std::uint32_t block_tokens = 0;
  std::uint32_t chunk_tokens = 0;
  MergePolicy policy;
};

class GroupTable {
 public:
  explicit GroupTable(const GroupTableShape& shape);

  // The slot's history has grown by these physical blocks; appends the edits that follow. Costs
  // what the blocks, groups and chunks touched cost.
  void append(SlotIndex slot, std::span<const BlockIndex> blocks, std::vector<TableEdit>& edits);
  // The slot holds no history any more: every entry that it used is cleared.
  void clear(SlotIndex slot, std::vector<TableEdit>& edits);

  std::uint32_t blocks(SlotIndex slot) const { return slots_[slot].blocks; }
  std::uint32_t groups(SlotIndex slot) const { return slots_[slot].groups; }
  std::uint32_t streams(SlotIndex slot) const { return slots_[slot].streams; }
  // Blocks in the groups of all slots.
  std::uint64_t total_blocks() const { return total_blocks_; }
  std::size_t bytes() const { return slots_.size() * sizeof(SlotGroups); }

 private:
  struct SlotGroups {
    std::uint32_t blocks = 0;
    std::uint32_t groups = 0;
    std::uint32_t streams = 0;
    std::uint32_t chunks = 0;
    KvGroup last;        // where groups > 0
    BlockStream stream;  // where streams > 0
  };
  void emit_last_group(SlotIndex slot, std::vector<TableEdit>& edits) const;
  void append_chunks(SlotIndex slot, std::vector<TableEdit>& edits);

  GroupTableShape shape_;
  std::vector<SlotGroups> slots_;
  std::uint64_t total_blocks_ = 0;
};

}  // namespace kvrm
