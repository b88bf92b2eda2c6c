#include "engines/descriptor/record_check.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "engines/descriptor/image_check.h"
#include "engines/descriptor/step_image.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

bool values_fit_groups(const TableEdit& edit, const std::uint64_t* values,
                       const StepLimits& limits) {
  GroupsCheck check(edit, limits);
  check.all(values, edit.count, [](std::uint32_t, const KvGroup&) {});
  return check.fits();
}

// Of a table of 4-byte values; an odd last one leaves half a word, which is zero.
template <class Fits>
bool values_fit(const TableEdit& edit, const std::uint64_t* values, const Fits& fits) {
  for (std::uint32_t i = 0; i < edit.count; ++i) {
    if (!fits(static_cast<std::uint32_t>(values[i / 2] >> (i % 2 * 32)))) return false;
  }
  return edit.logical == 0 && (edit.count % 2 == 0 || values[edit.count / 2] >> 32 == 0);
}

template <class Edit, class Fits>
bool all_fit(std::span<const Edit> edits, const StepLimits& limits, const Fits& fits) {
  return std::all_of(edits.begin(), edits.end(),
                     [&](const Edit& edit) { return fits(edit, limits); });
}

bool slots_ascend(std::span<const SlotEdit> edits) {
  return std::adjacent_find(edits.begin(), edits.end(), [](const SlotEdit& a, const SlotEdit& b) {
           return a.slot >= b.slot + KVRM_MUTATE(record_slot_twice, 0U, 1U);
         }) == edits.end();
}

}  // namespace

bool limits_fit(const StepLimits& limits) {
  constexpr std::uint32_t kMost = 1U << 26;  // the longest history, in positions
  const StepImageShape& shape = limits.shape;
  const std::uint32_t counts[] = {shape.slots, shape.max_blocks, shape.max_chunks,
                                  shape.extra_block_copies, shape.max_stage_copies};
  return limits.block_tokens > 0 &&
         std::all_of(std::begin(counts), std::end(counts),
                     [](std::uint32_t count) { return count <= kMost; }) &&
         limits.max_table_bytes <= step_image_bytes(shape);
}

bool sizes_fit(const StepRecordHeader& header, const StepLimits& limits) {
  const StepImageShape& shape = limits.shape;
  if (header.kind == CommitKind::full) {
    return header.flags == 0 && header.slot_edits == 0 && header.table_edits == 0 &&
           header.block_copies == 0 && header.stage_copies == 0 && header.far_updates == 0 &&
           header.table_bytes == 0 && header.image_bytes == step_image_bytes(shape);
  }
  return header.kind == CommitKind::edits && (header.flags & ~kAdvance) == 0 &&
         header.image_bytes == 0 && header.slot_edits <= shape.slots &&
         header.table_bytes % 8 == 0 && header.table_bytes <= limits.max_table_bytes &&
         header.block_copies <= shape.max_block_copies() &&
         header.stage_copies <= shape.max_stage_copies &&
         header.far_updates <= shape.max_far_updates();
}

bool slot_edit_fits(const SlotEdit& edit, const StepLimits& limits) {
  if (edit.slot >= limits.shape.slots) return false;
  if ((edit.flags & ~(kSlotActive | kTokenGiven)) != 0) return false;
  if ((edit.flags & kTokenGiven) == 0 && edit.token != kNoToken) return false;
  if (!token_fits(edit.token, limits)) return false;
  const RowFields row{{edit.position, edit.length, edit.write_slot}, edit.content_key, edit.far};
  if ((edit.flags & kSlotActive) != 0) return active_row_fits(row, limits);
  return (edit.flags & kTokenGiven) != 0 && edit.token == kNoToken && row_is_empty(row);
}

bool table_edit_fits(const TableEdit& edit, const std::uint64_t* values, const StepLimits& limits) {
  const StepImageShape& shape = limits.shape;
  if (edit.slot >= shape.slots + KVRM_MUTATE(record_slot_beyond_last, 0U, 1U) || edit.count == 0)
    return false;
  const std::uint64_t end = std::uint64_t{edit.index} + edit.count;
  switch (edit.table) {
    case StepTable::group:
      return end <= shape.max_blocks && values_fit_groups(edit, values, limits);
    case StepTable::chunk_group:
      return end <= shape.max_chunks && values_fit(edit, values, [&](std::uint32_t group) {
               return group < shape.max_blocks;
             });
    case StepTable::far_bias:
      return end <= shape.max_blocks && values_fit(edit, values, [](std::uint32_t bits) {
               return bias_fits(std::bit_cast<float>(bits));
             });
  }
  return false;
}

bool block_copy_fits(const BlockCopy& copy, const StepLimits& limits) {
  return copy.blocks > 0 && copy.reserved == 0 &&
         std::uint64_t{copy.source} + copy.blocks <=
             limits.pool_blocks + KVRM_MUTATE(record_copy_beyond_pool, 0U, 1U) &&
         std::uint64_t{copy.destination} + copy.blocks <= limits.pool_blocks;
}

bool stage_copy_fits(const StageCopy& copy, const StepLimits& limits) {
  return copy.slot < limits.shape.slots && copy.blocks > 0 &&
         std::uint64_t{copy.logical} + copy.blocks <= limits.shape.max_blocks &&
         std::uint64_t{copy.physical} + copy.blocks <= limits.pool_blocks;
}

bool far_update_fits(const FarUpdate& update, const StepLimits& limits) {
  const std::uint64_t positions = std::uint64_t{limits.pool_blocks} * limits.block_tokens;
  const std::uint32_t entries = limits.shape.max_blocks;
  if (update.radii_block >= limits.pool_blocks || update.entry >= entries ||
      update.entry_slot >= positions || update.source_slot >= positions || update.count == 0) {
    return false;
  }
  if (update.kind == FarUpdateKind::summarise) {
    return update.source_entry == 0 && update.source_count == 0 &&
           update.source_slot % limits.block_tokens == 0 && update.count <= limits.block_tokens;
  }
  return update.kind == FarUpdateKind::merge && update.source_entry < entries &&
         update.source_entry != update.entry && update.source_slot != update.entry_slot &&
         update.source_count > 0 &&
         std::uint64_t{update.count} + update.source_count <= limits.max_position;
}

bool indexes_fit(const RecordView& record, const StepLimits& limits) {
  if (record.header.kind == CommitKind::full) return image_fits(record.image, limits);
  std::uint32_t table_edits = 0;
  const auto table_fits = [&](const TableEdit& edit, const std::uint64_t* values) {
    ++table_edits;
    return table_edit_fits(edit, values, limits);
  };
  return all_fit(record.slot_edits, limits, slot_edit_fits) && slots_ascend(record.slot_edits) &&
         for_each_table_edit(record.table_words, table_fits) &&
         table_edits == record.header.table_edits &&
         all_fit(record.block_copies, limits, block_copy_fits) &&
         all_fit(record.stage_copies, limits, stage_copy_fits) &&
         all_fit(record.far_updates, limits, far_update_fits);
}

bool block_copies_disjoint(std::span<const BlockCopy> copies) {
  for (std::size_t i = 1; i < copies.size(); ++i) {
    const BlockCopy& before = copies[i - 1];
    if (std::uint64_t{before.destination} + before.blocks > copies[i].destination) return false;
  }
  return std::none_of(copies.begin(), copies.end(), [&](const BlockCopy& copy) {
    // The last destination that begins before this source ends is the only one that can meet it.
    const auto after = std::lower_bound(
        copies.begin(), copies.end(), copy.source + copy.blocks,
        [](const BlockCopy& other, BlockIndex end) { return other.destination < end; });
    if (after == copies.begin()) return false;
    const BlockCopy& near = *std::prev(after);
    return KVRM_MUTATE(record_overlap_unseen, near.destination + near.blocks > copy.source, false);
  });
}

bool stage_copies_disjoint(std::span<const StageCopy> copies) {
  for (std::size_t i = 1; i < copies.size(); ++i) {
    const StageCopy& before = copies[i - 1];
    const StageCopy& copy = copies[i];
    if (before.slot > copy.slot) return false;
    if (before.slot == copy.slot && before.logical + before.blocks > copy.logical) return false;
  }
  return true;
}

bool copies_disjoint(const RecordView& record, const StepLimits& limits) {
  if (record.header.kind == CommitKind::edits) {
    return block_copies_disjoint(record.block_copies) && stage_copies_disjoint(record.stage_copies);
  }
  const StepImage image = place_step_image(const_cast<std::byte*>(record.image), limits.shape);
  return block_copies_disjoint({image.block_copies, image.counts->block_copies}) &&
         stage_copies_disjoint({image.stage_copies, image.counts->stage_copies});
}

}  // namespace kvrm
