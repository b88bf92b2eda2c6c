#include "engines/transport/group_table.h"

#include <algorithm>
#include <bit>

#include "harness/base/check.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

std::uint64_t& count_of(SizeHistogram& histogram, std::uint32_t blocks) {
  const std::size_t size = static_cast<std::size_t>(std::bit_width(blocks)) - 1;
  return histogram[std::min(size, histogram.size() - 1)];
}

}  // namespace

GroupTable::GroupTable(const GroupTableShape& shape)
    : shape_(shape),
      slots_(shape.slots),
      groups_(std::size_t{shape.slots} * shape.max_blocks),
      old_(shape.max_blocks + 1) {
  KVRM_CHECK(shape.block_tokens > 0 && shape.chunk_tokens > 0);
}

std::size_t GroupTable::bytes() const {
  return slots_.size() * sizeof(SlotGroups) + (groups_.size() + old_.size()) * sizeof(Group);
}

void GroupTable::append(SlotIndex slot, std::span<const BlockIndex> blocks, TableEdits& edits) {
  if (blocks.empty()) return;
  const SlotGroups& state = slots_[slot];
  const std::uint32_t groups = state.groups;
  const std::uint32_t last_ends = state.blocks;
  add_blocks(slot, blocks);
  // The last group before has changed where the next one does not begin at its end.
  const bool grew =
      groups > 0 && (state.groups == groups || groups_of(slot)[groups].logical != last_ends);
  emit_appended(slot, grew ? groups - 1 : groups, edits);
}

void GroupTable::replace(SlotIndex slot, std::span<const BlockIndex> table, std::uint32_t unchanged,
                         TableEdits& edits) {
  const SlotGroups& state = slots_[slot];
  KVRM_CHECK(unchanged <= state.blocks && unchanged <= table.size());
  const Group* groups = groups_of(slot);
  // The group of the last block that stays may grow or shrink; those before it are left alone.
  const std::uint32_t first = last_group_within(slot, unchanged);
  const Before before{first, state.groups, state.chunks};
  *std::copy(groups + first, groups + state.groups, old_.data()) = {.logical = state.blocks};
  cut(slot, unchanged, first);
  add_blocks(slot, table.subspan(unchanged));
  emit_changed_groups(slot, before, edits);
  emit_changed_chunks(slot, before, edits);
}

// Index of the group that holds the last of the first `blocks` blocks; 0 where there is none.
std::uint32_t GroupTable::last_group_within(SlotIndex slot, std::uint32_t blocks) {
  const SlotGroups& state = slots_[slot];
  if (blocks == 0 || state.groups == 0) return 0;
  if (blocks > state.last_logical) return state.groups - 1;
  const Group* groups = groups_of(slot);
  const Group* after =
      std::lower_bound(groups, groups + state.groups, blocks,
                       [](const Group& group, std::uint32_t end) { return group.logical < end; });
  return static_cast<std::uint32_t>(after - groups) - 1;
}

// Keeps the first `blocks` blocks, the last of which is in `group`: takes that group and all behind
// it away, then adds what stays of it again.
void GroupTable::cut(SlotIndex slot, std::uint32_t blocks, std::uint32_t group) {
  SlotGroups& state = slots_[slot];
  if (blocks == state.blocks) return;
  const Group* groups = groups_of(slot);
  std::uint32_t end = state.blocks;
  for (std::uint32_t i = state.groups; i-- > group;) {
    --count_of(groups_by_blocks_, end - groups[i].logical);
    end = groups[i].logical;
  }
  const Group border = groups[group];
  total_blocks_ -= state.blocks - border.logical;
  total_groups_ -= state.groups - group;
  total_streams_ -= state.streams - border.streams_before;
  state.blocks = border.logical;
  state.groups = group;
  state.streams = border.streams_before;
  const Group previous = group == 0 ? Group() : groups[group - 1];
  state.last_logical = previous.logical;
  state.last_physical = previous.physical;
  state.stream = {border.stream_before, previous.physical + (border.logical - previous.logical)};
  if (blocks > border.logical) add_run(slot, border.physical, blocks - border.logical);
}

void GroupTable::add_blocks(SlotIndex slot, std::span<const BlockIndex> blocks) {
  KVRM_CHECK_LE(slots_[slot].blocks + blocks.size(), shape_.max_blocks);
  for (std::size_t i = 0; i < blocks.size();) {
    std::uint32_t run = 1;
    while (i + run < blocks.size() && blocks[i + run] == blocks[i] + run) ++run;
    add_run(slot, blocks[i], run);
    i += run;
  }
}

// Adjacent blocks: joins them to the last group, and cuts at the cap.
void GroupTable::add_run(SlotIndex slot, BlockIndex first, std::uint32_t count) {
  SlotGroups& state = slots_[slot];
  const std::uint32_t cap = shape_.policy.max_group_blocks;
  total_blocks_ += count;
  while (count > 0) {
    const std::uint32_t last_blocks = state.blocks - state.last_logical;
    const BlockStream last{state.last_physical, state.last_physical + last_blocks};
    const bool joins = state.groups > 0 && continues(last, first, 0, cap);
    const std::uint32_t before = joins ? last_blocks : 0;
    const std::uint32_t taken = cap == 0 ? count : std::min(count, cap - before);
    if (joins) {
      --count_of(groups_by_blocks_, before);
    } else {
      open_group(slot, first);
    }
    ++count_of(groups_by_blocks_, before + taken);
    add_to_streams(slot, first, taken);
    state.blocks += taken;
    first += taken;
    count -= taken;
  }
}

void GroupTable::open_group(SlotIndex slot, BlockIndex first) {
  SlotGroups& state = slots_[slot];
  groups_of(slot)[state.groups] = {.logical = state.blocks,
                                   .physical = first,
                                   .streams_before = state.streams,
                                   .stream_before = state.stream.first};
  ++state.groups;
  ++total_groups_;
  state.last_logical = state.blocks;
  state.last_physical = first;
}

void GroupTable::add_to_streams(SlotIndex slot, BlockIndex first, std::uint32_t count) {
  SlotGroups& state = slots_[slot];
  const MergePolicy& policy = shape_.policy;
  const std::uint32_t cap = policy.max_group_blocks;
  while (count > 0) {
    const bool goes_on =
        state.streams > 0 && continues(state.stream, first, policy.max_gap_blocks, cap);
    if (!goes_on) {
      state.stream.first = first;
      ++state.streams;
      ++total_streams_;
    }
    const std::uint32_t taken =
        cap == 0 ? count : std::min(count, cap - (first - state.stream.first));
    first += taken;
    count -= taken;
    state.stream.end = first;
  }
}

void GroupTable::emit_appended(SlotIndex slot, std::uint32_t first_group, TableEdits& edits) {
  SlotGroups& state = slots_[slot];
  const Group* groups = groups_of(slot);
  for (std::uint32_t i = first_group; i < state.groups; ++i) {
    const std::uint32_t end = i + 1 < state.groups ? groups[i + 1].logical : state.blocks;
    edits.set_group(slot, i,
                    {.logical = groups[i].logical,
                     .physical = groups[i].physical,
                     .blocks = end - groups[i].logical});
  }
  const std::uint64_t tokens = std::uint64_t{state.blocks} * shape_.block_tokens;
  std::uint32_t group = first_group;
  for (; state.chunks * std::uint64_t{shape_.chunk_tokens} < tokens; ++state.chunks) {
    const auto block = static_cast<std::uint32_t>(std::uint64_t{state.chunks} *
                                                  shape_.chunk_tokens / shape_.block_tokens);
    while (group + 1 < state.groups && groups[group + 1].logical <= block) ++group;
    edits.set_value(slot, StepTable::chunk_group, state.chunks, group);
  }
}

void GroupTable::emit_changed_groups(SlotIndex slot, const Before& before, TableEdits& edits) {
  const SlotGroups& state = slots_[slot];
  const Group* groups = groups_of(slot);
  const Group* old = old_.data();
  for (std::uint32_t i = before.first_group; i < state.groups; ++i) {
    const Group& group = groups[i];
    const std::uint32_t end = i + 1 < state.groups ? groups[i + 1].logical : state.blocks;
    const bool same = i < before.groups && old->physical == group.physical &&
                      old->logical == group.logical && (old + 1)->logical == end;
    if (!same) {
      edits.set_group(
          slot, i,
          {.logical = group.logical, .physical = group.physical, .blocks = end - group.logical});
    }
    ++old;
  }
  for (std::uint32_t i = state.groups; i < before.groups; ++i) edits.set_group(slot, i, {});
}

void GroupTable::emit_changed_chunks(SlotIndex slot, const Before& before, TableEdits& edits) {
  SlotGroups& state = slots_[slot];
  const Group* groups = groups_of(slot);
  const std::uint64_t tokens = std::uint64_t{state.blocks} * shape_.block_tokens;
  state.chunks = static_cast<std::uint32_t>(divide_up(tokens, shape_.chunk_tokens));
  const std::uint64_t border = std::uint64_t{old_[0].logical} * shape_.block_tokens;
  std::uint32_t group = before.first_group;
  std::uint32_t old_group = before.first_group;
  for (auto chunk = static_cast<std::uint32_t>(divide_up(border, shape_.chunk_tokens));
       chunk < std::max(state.chunks, before.chunks); ++chunk) {
    const auto block = static_cast<std::uint32_t>(std::uint64_t{chunk} * shape_.chunk_tokens /
                                                  shape_.block_tokens);
    while (group + 1 < state.groups && groups[group + 1].logical <= block) ++group;
    while (old_group + 1 < before.groups &&
           old_[old_group + 1 - before.first_group].logical <= block) {
      ++old_group;
    }
    const std::uint32_t value = chunk < state.chunks ? group : 0;
    const std::uint32_t old_value = chunk < before.chunks ? old_group : 0;
    if (value != old_value) edits.set_value(slot, StepTable::chunk_group, chunk, value);
  }
}

}  // namespace kvrm
