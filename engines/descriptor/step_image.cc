#include "engines/descriptor/step_image.h"

#include <cstring>

#include "harness/base/units.h"
#include "kernels/linear/linear.h"

namespace kvrm {
namespace {

std::size_t rows_bytes(const StepImageShape& shape) {
  return round_up(row_arrays_bytes(shape.slots), 64);
}

std::size_t groups_bytes(const StepImageShape& shape) {
  return round_up(std::size_t{shape.slots} * shape.max_blocks * sizeof(KvGroup), 64);
}

std::size_t chunk_groups_bytes(const StepImageShape& shape) {
  return round_up(std::size_t{shape.slots} * shape.max_chunks * sizeof(std::uint32_t), 64);
}

}  // namespace

std::size_t step_image_bytes(const StepImageShape& shape) {
  return rows_bytes(shape) + groups_bytes(shape) + chunk_groups_bytes(shape);
}

StepImage place_step_image(std::byte* memory, const StepImageShape& shape) {
  std::byte* groups = memory + rows_bytes(shape);
  return {.rows = place_row_arrays(memory, shape.slots),
          .groups = reinterpret_cast<KvGroup*>(groups),
          .chunk_group = reinterpret_cast<std::uint32_t*>(groups + groups_bytes(shape))};
}

void clear_step_image(std::byte* memory, const StepImageShape& shape) {
  std::memset(memory, 0, step_image_bytes(shape));
  const RowArrays& rows = place_step_image(memory, shape).rows;
  for (std::uint32_t row = 0; row < round_up(shape.slots, kRowTile); ++row) {
    set_row(rows, row, {.history = row < shape.slots ? row : 0});
  }
}

void write_slot_edit(const StepImage& image, const SlotEdit& edit, TokenId token) {
  set_row(image.rows, edit.slot,
          {.token = token,
           .position = edit.length > 0 ? edit.length - 1 : 0,
           .length = edit.length,
           .history = edit.slot,
           .write_slot = edit.write_slot,
           .content_key = edit.content_key});
}

void write_table_edit(const StepImage& image, const StepImageShape& shape, const TableEdit& edit) {
  if (edit.table == StepTable::group) {
    image.groups[std::size_t{edit.slot} * shape.max_blocks + edit.index] = {
        .logical = edit.logical, .physical = edit.physical, .blocks = edit.blocks, .reserved = 0};
  } else {
    image.chunk_group[std::size_t{edit.slot} * shape.max_chunks + edit.index] = edit.logical;
  }
}

SlotEdit inactive_slot(SlotIndex slot) {
  return {.slot = slot,
          .flags = kTokenGiven,
          .token = kNoToken,
          .length = 0,
          .write_slot = kNoWrite,
          .content_key = 0};
}

}  // namespace kvrm
