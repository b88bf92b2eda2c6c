#include "engines/transport/group_table.h"

#include "harness/base/check.h"

namespace kvrm {

GroupTable::GroupTable(const GroupTableShape& shape) : shape_(shape), slots_(shape.slots) {
  KVRM_CHECK(shape.block_tokens > 0 && shape.chunk_tokens > 0);
}

void GroupTable::append(SlotIndex slot, std::span<const BlockIndex> blocks,
                        std::vector<TableEdit>& edits) {
  const MergePolicy& policy = shape_.policy;
  SlotGroups& state = slots_[slot];
  bool pending = false;  // the last group changed and its edit is not out yet
  for (const BlockIndex block : blocks) {
    const BlockStream span{state.last.physical, state.last.physical + state.last.blocks};
    if (state.groups > 0 && continues(span, block, 0, policy.max_group_blocks)) {
      ++state.last.blocks;
    } else {
      if (pending) emit_last_group(slot, edits);
      state.last = {.logical = state.blocks, .physical = block, .blocks = 1};
      ++state.groups;
    }
    pending = true;
    const bool streams_on =
        state.streams > 0 &&
        continues(state.stream, block, policy.max_gap_blocks, policy.max_group_blocks);
    if (!streams_on) {
      state.stream.first = block;
      ++state.streams;
    }
    state.stream.end = block + 1;
    ++state.blocks;
    append_chunks(slot, edits);
  }
  total_blocks_ += blocks.size();
  if (pending) emit_last_group(slot, edits);
}

void GroupTable::append_chunks(SlotIndex slot, std::vector<TableEdit>& edits) {
  SlotGroups& state = slots_[slot];
  const std::uint64_t end = std::uint64_t{state.blocks} * shape_.block_tokens;
  while (state.chunks * std::uint64_t{shape_.chunk_tokens} < end) {
    edits.push_back({.slot = slot,
                     .table = StepTable::chunk_group,
                     .index = state.chunks,
                     .logical = state.groups - 1});
    ++state.chunks;
  }
}

void GroupTable::emit_last_group(SlotIndex slot, std::vector<TableEdit>& edits) const {
  const SlotGroups& state = slots_[slot];
  edits.push_back({.slot = slot,
                   .table = StepTable::group,
                   .index = state.groups - 1,
                   .blocks = state.last.blocks,
                   .logical = state.last.logical,
                   .physical = state.last.physical});
}

void GroupTable::clear(SlotIndex slot, std::vector<TableEdit>& edits) {
  SlotGroups& state = slots_[slot];
  for (std::uint32_t index = 0; index < state.groups; ++index) {
    edits.push_back({.slot = slot, .table = StepTable::group, .index = index});
  }
  for (std::uint32_t index = 0; index < state.chunks; ++index) {
    edits.push_back({.slot = slot, .table = StepTable::chunk_group, .index = index});
  }
  total_blocks_ -= state.blocks;
  state = {};
}

}  // namespace kvrm
