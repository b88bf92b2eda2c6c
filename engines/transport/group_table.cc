#include "engines/transport/group_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
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
      group_stride_(spread_stride(shape.max_blocks, sizeof(Group))),
      groups_(std::size_t{shape.slots} * group_stride_),
      old_(shape.max_blocks + 1) {
  KVRM_CHECK(shape.block_tokens > 0 && shape.chunk_tokens > 0);
}

std::size_t GroupTable::bytes() const {
  return slots_.size() * sizeof(SlotGroups) + old_.size() * sizeof(Group) + groups_.bytes();
}

void GroupTable::append(SlotIndex slot, std::span<const BlockIndex> blocks, TableEdits& edits) {
  if (blocks.empty()) return;
  if (blocks.size() == 1) return append_one(slot, blocks[0], edits);
  const SlotGroups& state = slots_[slot];
  const std::uint32_t groups = state.groups;
  const std::uint32_t last_ends = state.blocks;
  add_blocks(slot, blocks);
  // The last group before has changed where the next one does not begin at its end.
  const bool grew =
      groups > 0 &&
      (state.groups == groups || KVRM_MUTATE(table_grown_group_not_sent,
                                             groups_of(slot)[groups].logical != last_ends, false));
  const std::uint32_t first = grew ? groups - 1 : groups;
  emit_groups(slot, first, state.groups, edits);
  emit_new_chunks(slot, first, edits);
}

// The same for the one block of a plain decode step, most often a group of its own.
void GroupTable::append_one(SlotIndex slot, BlockIndex block, TableEdits& edits) {
  SlotGroups& state = slots_[slot];
  KVRM_CHECK_LT(state.blocks, shape_.max_blocks);
  ++total_blocks_;
  if (shape_.policy.max_gap_blocks == 0 && (state.groups == 0 || block != end_of(state))) {
    open_group(state, groups_of(slot), block);
    ++state.blocks;
    state.streams = state.groups;
    ++groups_by_blocks_[0];
    ++total_groups_;
    ++total_streams_;
  } else {
    const std::uint32_t groups = state.groups;
    const std::uint32_t streams = state.streams;
    add_run(state, groups_of(slot), {block, block + 1});
    total_groups_ += state.groups - groups;
    total_streams_ += state.streams - streams;
  }
  edits.set_group(slot, state.groups - 1,
                  {.logical = state.last_logical,
                   .physical = state.last_physical,
                   .blocks = state.blocks - state.last_logical});
  emit_new_chunks(slot, state.groups - 1, edits);
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
  const Group* after = std::lower_bound(
      groups, groups + state.groups, blocks, [](const Group& group, std::uint32_t end) {
        return group.logical < end + KVRM_MUTATE(table_cut_one_group_early, 0U, 1U);
      });
  return static_cast<std::uint32_t>(after - groups) - 1;
}

// Keeps the first `blocks` blocks, the last of which is in `group`: takes that group and all behind
// it away, then adds what stays of it again.
void GroupTable::cut(SlotIndex slot, std::uint32_t blocks, std::uint32_t group) {
  SlotGroups& state = slots_[slot];
  if (blocks == state.blocks) return;
  const Group* groups = groups_of(slot);
  std::uint32_t end = state.blocks;
  std::uint32_t single = 0;  // groups of one block
  for (std::uint32_t i = state.groups; i-- > group;) {
    const std::uint32_t size = end - groups[i].logical;
    single += size == 1 ? 1 : 0;
    if (size > KVRM_MUTATE(table_pairs_uncounted, 1U, 2U)) --count_of(groups_by_blocks_, size);
    end = groups[i].logical;
  }
  groups_by_blocks_[0] -= single;
  const Group border = groups[group];
  const SlotGroups before = state;
  state.blocks = border.logical;
  state.groups = group;
  state.streams = KVRM_MUTATE(table_cut_keeps_streams, border.streams_before, state.streams);
  const Group previous = group == 0 ? Group() : groups[group - 1];
  state.last_logical = previous.logical;
  state.last_physical = previous.physical;
  state.stream = {border.stream_before, previous.physical + (border.logical - previous.logical)};
  if (blocks > border.logical) {
    add_run(state, groups_of(slot), {border.physical, border.physical + (blocks - border.logical)});
  }
  add_totals(before, state);
}

void GroupTable::add_totals(const SlotGroups& before, const SlotGroups& after) {
  total_blocks_ += after.blocks - std::uint64_t{before.blocks};
  total_groups_ += after.groups - std::uint64_t{before.groups};
  total_streams_ += after.streams - std::uint64_t{before.streams};
}

void GroupTable::add_blocks(SlotIndex slot, std::span<const BlockIndex> blocks) {
  const SlotGroups before = slots_[slot];
  KVRM_CHECK_LE(before.blocks + blocks.size(), shape_.max_blocks);
  SlotGroups state = before;  // a copy, so that it can stay in registers
  Group* groups = groups_of(slot);
  std::uint32_t single = 0;  // groups of one block that were opened
  for (std::size_t i = 0; i < blocks.size();) {
    std::size_t end = i + 1;
    const bool alone = end < blocks.size() && blocks[end] != blocks[i] + 1;
    if (alone && state.groups > 0 && shape_.policy.max_gap_blocks == 0) {
      const std::uint32_t added = add_singles(state, groups, blocks.subspan(i));
      single += added;
      i += added;
      end = i + 1;
    }
    while (end < blocks.size() && blocks[end] == blocks[end - 1] + 1) ++end;
    add_run(state, groups, {blocks[i], blocks[end - 1] + 1});
    i = end;
  }
  groups_by_blocks_[0] += single;
  slots_[slot] = state;
  add_totals(before, state);
}

// Adds blocks, as long as each is a group of its own and more follow. For a slot that has groups,
// at gap 0: there streams are groups, and nothing asks where the one before began.
std::uint32_t GroupTable::add_singles(SlotGroups& state, Group* groups,
                                      std::span<const BlockIndex> blocks) {
  const std::uint64_t first_logical = state.blocks;
  const std::uint64_t first_group = state.groups;
  Group* const to = groups + first_group;
  const auto most = static_cast<std::uint32_t>(blocks.size()) - 1;
  BlockIndex before = end_of(state) - 1;
  std::uint32_t i = 0;
  for (; i < most; ++i) {
    const BlockIndex block = blocks[i];
    const bool paired = block == before + 1 || blocks[i + 1] == block + 1;
    if (KVRM_MUTATE(table_singles_swallow_pairs, paired, false)) break;
    // A Group in two stores: the compiler would put it together in vector registers.
    const std::uint64_t words[] = {(first_logical + i) | std::uint64_t{block} << 32,
                                   first_group + i};
    static_assert(sizeof(words) == sizeof(Group));
    std::memcpy(static_cast<void*>(to + i), words, sizeof(words));
    before = block;
  }
  if (i == 0) return 0;
  state.blocks += i;
  state.groups += i;
  state.streams = state.groups;
  state.last_logical = state.blocks - 1;
  state.last_physical = before;
  return i;
}

// Adjacent blocks: joins them to the last group, and cuts at the cap.
inline void GroupTable::add_run(SlotGroups& state, Group* groups, BlockStream run) {
  const std::uint32_t cap = shape_.policy.max_group_blocks;
  while (run.first < run.end) {
    const std::uint32_t last_blocks = state.blocks - state.last_logical;
    const BlockStream last{state.last_physical, end_of(state)};
    const bool joins = state.groups > 0 && continues(last, run.first, 0, cap);
    const std::uint32_t before = joins ? last_blocks : 0;
    const std::uint32_t count = run.end - run.first;
    const std::uint32_t taken =
        cap == 0 ? count
                 : std::min(count, cap - KVRM_MUTATE(table_cap_from_last_group, before, 0U));
    if (joins) {
      --count_of(groups_by_blocks_, before);
    } else {
      open_group(state, groups, run.first);
    }
    ++count_of(groups_by_blocks_, before + taken);
    add_to_streams(state, {run.first, run.first + taken});
    state.blocks += taken;
    run.first += taken;
  }
}

inline void GroupTable::add_to_streams(SlotGroups& state, BlockStream run) const {
  const MergePolicy& policy = shape_.policy;
  const std::uint32_t cap = policy.max_group_blocks;
  if (policy.max_gap_blocks == 0) {  // then streams are groups
    state.streams = state.groups;
    return;
  }
  while (run.first < run.end) {
    const bool goes_on =
        state.streams > 0 && continues(state.stream, run.first, policy.max_gap_blocks, cap);
    if (!goes_on) {
      state.stream.first = run.first;
      ++state.streams;
    }
    const std::uint32_t count = run.end - run.first;
    const std::uint32_t room = cap - (run.first - state.stream.first);
    run.first += cap == 0 ? count : std::min(count, room);
    state.stream.end = run.first;
  }
}

// Groups [begin, end).
void GroupTable::emit_groups(SlotIndex slot, std::uint32_t begin, std::uint32_t end,
                             TableEdits& edits) {
  const SlotGroups& state = slots_[slot];
  const Group* groups = groups_of(slot);
  constexpr std::uint32_t kMost = 0xffff;  // of TableEdit::count
  for (std::uint32_t first = begin; first < end; first += kMost) {
    const std::uint32_t count = std::min(end - first, kMost);
    std::uint64_t* values =
        edits.set_groups(slot, first, static_cast<std::uint16_t>(count), groups[first].logical);
    // The last group of all ends where the history does, every other one where the next begins.
    const std::uint32_t followed = std::min(count, state.groups - 1 - first);
    for (std::uint32_t i = 0; i < followed; ++i) {
      const Group& group = groups[first + i];
      values[i] = pack_group(group.physical, groups[first + i + 1].logical - group.logical);
    }
    if (followed < count) {
      values[followed] = pack_group(state.last_physical, state.blocks - state.last_logical);
    }
  }
}

// Chunks that the history has now and had not, all of which begin in `first_group` or behind it.
void GroupTable::emit_new_chunks(SlotIndex slot, std::uint32_t first_group, TableEdits& edits) {
  SlotGroups& state = slots_[slot];
  const std::uint64_t tokens = std::uint64_t{state.blocks} * shape_.block_tokens;
  std::uint32_t group = first_group;
  for (; state.chunks * std::uint64_t{shape_.chunk_tokens} <
         tokens + KVRM_MUTATE(table_chunk_one_early, 0U, 1U);
       ++state.chunks) {
    group = group_at(groups_of(slot), {group, state.groups}, chunk_block(state.chunks));
    edits.set_value(slot, StepTable::chunk_group, state.chunks, group);
  }
}

std::uint32_t GroupTable::chunk_block(std::uint32_t chunk) const {
  return static_cast<std::uint32_t>(std::uint64_t{chunk} * shape_.chunk_tokens /
                                    shape_.block_tokens);
}

// Of groups [first, end), the first of which begins at or before the block, the one that holds it.
std::uint32_t GroupTable::group_at(const Group* groups, GroupRange range, std::uint32_t block) {
  // No group is shorter than a block, so it is at most this many groups on; often exactly.
  const std::uint32_t most = range.first + (block - groups[range.first].logical);
  if (most < range.end && groups[most].logical <= block) return most;
  // Otherwise it is near: chunks are asked for in order, each from the group of the one before.
  std::uint32_t at = range.first;
  while (at + 1 < range.end &&
         groups[at + 1].logical + KVRM_MUTATE(table_chunk_at_group_start, 0U, 1U) <= block)
    ++at;
  return at;
}

void GroupTable::emit_changed_groups(SlotIndex slot, const Before& before, TableEdits& edits) {
  const SlotGroups& state = slots_[slot];
  const Group* groups = groups_of(slot);
  const auto same = [&](std::uint32_t i) {
    if (i >= before.groups) return false;
    const Group* old = &old_[i - before.first_group];
    const std::uint32_t end = i + 1 < state.groups ? groups[i + 1].logical : state.blocks;
    return old->physical == groups[i].physical && old->logical == groups[i].logical &&
           (old + 1)->logical == end;
  };
  for (std::uint32_t i = before.first_group; i < state.groups;) {
    std::uint32_t end = i;
    while (end < state.groups && !same(end)) ++end;
    if (end > i) emit_groups(slot, i, end, edits);
    i = end + 1;
  }
  for (std::uint32_t i = state.groups; i < before.groups; ++i) edits.set_group(slot, i, {});
}

void GroupTable::emit_changed_chunks(SlotIndex slot, const Before& before, TableEdits& edits) {
  SlotGroups& state = slots_[slot];
  const std::uint64_t tokens = std::uint64_t{state.blocks} * shape_.block_tokens;
  state.chunks = static_cast<std::uint32_t>(divide_up(tokens, shape_.chunk_tokens));
  const std::uint64_t border = std::uint64_t{old_[0].logical} * shape_.block_tokens;
  GroupRange now{before.first_group, state.groups};
  GroupRange old{0, before.groups - before.first_group};
  for (auto chunk = static_cast<std::uint32_t>(divide_up(border, shape_.chunk_tokens));
       chunk < std::max(state.chunks, before.chunks); ++chunk) {
    const std::uint32_t block = chunk_block(chunk);
    std::uint32_t value = 0;
    std::uint32_t old_value = 0;
    if (chunk < state.chunks) value = now.first = group_at(groups_of(slot), now, block);
    if (chunk < before.chunks) {
      old.first = group_at(old_.data(), old, block);
      old_value = before.first_group + old.first;
    }
    if (value != old_value) edits.set_value(slot, StepTable::chunk_group, chunk, value);
  }
}

}  // namespace kvrm
