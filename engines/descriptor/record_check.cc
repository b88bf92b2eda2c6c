#include "engines/descriptor/record_check.h"

#include "harness/base/units.h"
#include "kernels/linear/linear.h"

namespace kvrm {
namespace {

bool token_fits(TokenId token, const StepLimits& limits) {
  return token == kNoToken || token < limits.vocabulary;
}

bool write_slot_fits(std::uint64_t write_slot, const StepLimits& limits) {
  return write_slot == kNoWrite ||
         write_slot < std::uint64_t{limits.pool_blocks} * limits.block_tokens;
}

bool group_fits(const KvGroup& group, const StepLimits& limits) {
  if (group.blocks == 0) return group.logical == 0 && group.physical == 0 && group.reserved == 0;
  return std::uint64_t{group.logical} + group.blocks <= limits.shape.max_blocks &&
         std::uint64_t{group.physical} + group.blocks <= limits.pool_blocks && group.reserved == 0;
}

bool row_fits(const RowArrays& rows, std::uint32_t row, const StepLimits& limits) {
  const std::uint32_t length = rows.length[row];
  const bool slot = row < limits.shape.slots;
  if (rows.history[row] != (slot ? row : 0)) return false;
  if (length == 0 || !slot) {
    return length == 0 && rows.position[row] == 0 && rows.token[row] == kNoToken &&
           rows.write_slot[row] == kNoWrite && rows.content_key[row] == 0;
  }
  return length <= limits.max_length && rows.position[row] == length - 1 &&
         token_fits(rows.token[row], limits) && write_slot_fits(rows.write_slot[row], limits);
}

}  // namespace

std::size_t record_bytes(const StepRecordHeader& header) {
  return sizeof(StepRecordHeader) + header.slot_edits * sizeof(SlotEdit) +
         header.table_edits * sizeof(TableEdit) + header.copies * sizeof(BlockCopy) +
         header.image_bytes;
}

bool sizes_fit(const StepRecordHeader& header, const StepLimits& limits) {
  if (header.copies != 0) return false;  // no transport of this engine copies blocks in the pool
  if (header.kind == CommitKind::full) {
    return header.slot_edits == 0 && header.table_edits == 0 &&
           header.image_bytes == step_image_bytes(limits.shape);
  }
  return header.kind == CommitKind::edits && header.image_bytes == 0 &&
         header.slot_edits <= limits.shape.slots && header.table_edits <= limits.max_table_edits;
}

bool slot_edit_fits(const SlotEdit& edit, const StepLimits& limits) {
  const bool active = (edit.flags & kSlotActive) != 0;
  if (edit.slot >= limits.shape.slots) return false;
  if ((edit.flags & ~(kSlotActive | kTokenGiven)) != 0) return false;
  if (active != (edit.length > 0) || edit.length > limits.max_length) return false;
  const bool empty = (edit.flags & kTokenGiven) != 0 && edit.token == kNoToken &&
                     edit.write_slot == kNoWrite && edit.content_key == 0;
  if (!active && !empty) return false;
  return token_fits(edit.token, limits) && write_slot_fits(edit.write_slot, limits);
}

bool table_edit_fits(const TableEdit& edit, const StepLimits& limits) {
  if (edit.slot >= limits.shape.slots) return false;
  if (edit.table == StepTable::chunk_group) {
    return edit.index < limits.shape.max_chunks && edit.logical < limits.shape.max_blocks &&
           edit.blocks == 0 && edit.physical == 0;
  }
  const KvGroup group{.logical = edit.logical, .physical = edit.physical, .blocks = edit.blocks};
  return edit.table == StepTable::group && edit.index < limits.shape.max_blocks &&
         group_fits(group, limits);
}

bool image_fits(const std::byte* image, const StepLimits& limits) {
  const StepImageShape& shape = limits.shape;
  // The view is only read; placing it takes a mutable pointer because the device's own is written.
  const StepImage view = place_step_image(const_cast<std::byte*>(image), shape);
  for (std::uint32_t row = 0; row < round_up(shape.slots, kRowTile); ++row) {
    if (!row_fits(view.rows, row, limits)) return false;
  }
  for (std::size_t i = 0; i < std::size_t{shape.slots} * shape.max_blocks; ++i) {
    if (!group_fits(view.groups[i], limits)) return false;
  }
  for (std::size_t i = 0; i < std::size_t{shape.slots} * shape.max_chunks; ++i) {
    if (view.chunk_group[i] >= shape.max_blocks) return false;
  }
  return true;
}

}  // namespace kvrm
