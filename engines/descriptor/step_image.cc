#include "engines/descriptor/step_image.h"

#include <algorithm>
#include <cstring>

#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "kernels/linear/linear.h"

namespace kvrm {
namespace {

// Hands out an image's parts one after the other, each on its own cache lines.
class Layout {
 public:
  template <class T>
  std::size_t take(std::size_t count) {
    const std::size_t offset = bytes_;
    bytes_ = round_up(bytes_ + count * sizeof(T), 64);
    return offset;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

struct Offsets {
  explicit Offsets(const StepImageShape& shape) {
    const std::size_t entries = std::size_t{shape.slots} * shape.max_blocks;
    layout.take<std::byte>(row_arrays_bytes(shape.slots));
    counts = layout.take<StepCounts>(1);
    groups = layout.take<KvGroup>(std::size_t{shape.slots} * shape.group_stride());
    chunk_group = layout.take<std::uint32_t>(std::size_t{shape.slots} * shape.max_chunks);
    far_bias = layout.take<float>(entries);
    block_copies = layout.take<BlockCopy>(shape.max_block_copies());
    stage_copies = layout.take<StageCopy>(shape.max_stage_copies);
    far_updates = layout.take<FarUpdate>(shape.max_far_updates());
  }
  Layout layout;
  std::size_t counts = 0;
  std::size_t groups = 0;
  std::size_t chunk_group = 0;
  std::size_t far_bias = 0;
  std::size_t block_copies = 0;
  std::size_t stage_copies = 0;
  std::size_t far_updates = 0;
};

void write_groups(KvGroup* to, const TableEdit& edit, const std::uint64_t* values) {
  std::uint32_t logical = edit.logical;
  for (std::uint32_t i = 0; i < edit.count; ++i) {
    const auto physical = static_cast<std::uint32_t>(values[i]);
    const auto blocks = static_cast<std::uint32_t>(values[i] >> 32);
    to[i] = {
        .logical = blocks == KVRM_MUTATE(image_cleared_group_keeps_place, 0U, ~0U) ? 0 : logical,
        .physical = physical,
        .blocks = blocks};
    logical += blocks;
  }
}

template <class T>
void write_list(T* to, std::uint32_t& count, std::span<const T> list) {
  std::copy(list.begin(), list.end(), to);
  // Zeros, which is not what every list's default is.
  if (list.size() + KVRM_MUTATE(image_row_tail_stale, 0U, 1U) < count) {
    std::memset(static_cast<void*>(to + list.size()), 0, (count - list.size()) * sizeof(T));
  }
  count = static_cast<std::uint32_t>(list.size());
}

}  // namespace

std::size_t step_image_bytes(const StepImageShape& shape) { return Offsets(shape).layout.bytes(); }

StepImage place_step_image(std::byte* memory, const StepImageShape& shape) {
  const Offsets at(shape);
  return {.rows = place_row_arrays(memory, shape.slots),
          .counts = reinterpret_cast<StepCounts*>(memory + at.counts),
          .groups = reinterpret_cast<KvGroup*>(memory + at.groups),
          .chunk_group = reinterpret_cast<std::uint32_t*>(memory + at.chunk_group),
          .far_bias = reinterpret_cast<float*>(memory + at.far_bias),
          .block_copies = reinterpret_cast<BlockCopy*>(memory + at.block_copies),
          .stage_copies = reinterpret_cast<StageCopy*>(memory + at.stage_copies),
          .far_updates = reinterpret_cast<FarUpdate*>(memory + at.far_updates)};
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
           .position = edit.position,
           .length = edit.length,
           .history = edit.slot,
           .write_slot = edit.write_slot,
           .content_key = edit.content_key,
           .far = edit.far});
}

void write_table_edit(const StepImage& image, const StepImageShape& shape, const TableEdit& edit,
                      const std::uint64_t* values) {
  switch (edit.table) {
    case StepTable::group:
      write_groups(image.groups + std::size_t{edit.slot} * shape.group_stride() + edit.index, edit,
                   values);
      return;
    case StepTable::chunk_group:
      std::memcpy(image.chunk_group + std::size_t{edit.slot} * shape.max_chunks + edit.index,
                  values, edit.count * sizeof(std::uint32_t));
      return;
    case StepTable::far_bias:
      std::memcpy(image.far_bias + std::size_t{edit.slot} * shape.max_blocks + edit.index, values,
                  edit.count * sizeof(float));
      return;
  }
}

void write_lists(const StepImage& image, const StepLists& lists) {
  StepCounts& counts = *image.counts;
  write_list(image.block_copies, counts.block_copies, lists.block_copies);
  write_list(image.stage_copies, counts.stage_copies, lists.stage_copies);
  write_list(image.far_updates, counts.far_updates, lists.far_updates);
  counts.stage_all = lists.stage_all ? 1 : 0;
}

std::vector<std::byte> resolved_image(std::span<const std::byte> shadow,
                                      const StepImageShape& shape,
                                      std::span<const TokenId> consumed) {
  std::vector<std::byte> image(shadow.begin(), shadow.end());
  TokenId* tokens = place_row_arrays(image.data(), shape.slots).token;
  for (std::uint32_t slot = 0; slot < shape.slots; ++slot) {
    const bool known = tokens[slot] != kSampledToken && tokens[slot] != kKeptToken;
    if (!known) tokens[slot] = consumed[slot];
  }
  return image;
}

SlotEdit inactive_slot(SlotIndex slot) { return {.slot = slot, .flags = kTokenGiven}; }

}  // namespace kvrm
