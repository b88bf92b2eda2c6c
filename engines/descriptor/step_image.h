// The step image: everything that the replayed graph of `kvrm` reads about a step, at fixed
// addresses and in fixed shapes. Row = slot. It is changed only by applying a step record
// (apply_step.h); this header is its layout and the meaning of one edit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engines/decoder/row_arrays.h"
#include "engines/descriptor/step_limits.h"
#include "harness/base/ids.h"
#include "harness/contract/step_descriptor.h"
#include "kernels/page/page.h"

namespace kvrm {

// How much of the lists this step uses.
struct StepCounts {
  std::uint32_t block_copies = 0;
  std::uint32_t stage_copies = 0;
  std::uint32_t far_updates = 0;
  std::uint32_t stage_all = 0;  // 1: the list of stage copies is empty, because it would not hold
                                // them; stage every group of every row whose length is not 0
};

// Pointers into an image's memory; on the device, or in the host's shadow of it. Entries of tables
// and lists beyond the used ones are zero.
struct StepImage {
  RowArrays rows;                        // [slots], padded to whole row tiles
  StepCounts* counts = nullptr;          // [1]
  KvGroup* groups = nullptr;             // [slots, group_stride()]
  std::uint32_t* chunk_group = nullptr;  // [slots, max_chunks]
  float* far_bias = nullptr;             // [slots, max_blocks]
  BlockCopy* block_copies = nullptr;     // [max_block_copies()]
  StageCopy* stage_copies = nullptr;     // [max_stage_copies]
  FarUpdate* far_updates = nullptr;      // [max_far_updates()]
};

// Bytes of an image; a multiple of 64.
std::size_t step_image_bytes(const StepImageShape& shape);
// The image laid out in memory of step_image_bytes(), aligned to 64 bytes.
StepImage place_step_image(std::byte* memory, const StepImageShape& shape);
// Every byte defined: no slot holds a request, every table entry and list is zero.
void clear_step_image(std::byte* memory, const StepImageShape& shape);

// Replaces the slot's per-row fields. `token` is the token that the row consumes, wherever it came
// from. `history` is the slot itself: its tables are its own.
void write_slot_edit(const StepImage& image, const SlotEdit& edit, TokenId token);

// 8-byte words that the values of an edit take in a record.
constexpr std::size_t value_words(const TableEdit& edit) {
  return edit.table == StepTable::group ? edit.count : (std::size_t{edit.count} + 1) / 2;
}
// `values` [value_words(edit)].
void write_table_edit(const StepImage& image, const StepImageShape& shape, const TableEdit& edit,
                      const std::uint64_t* values);

// A step's copies and updates.
struct StepLists {
  std::span<const BlockCopy> block_copies;
  std::span<const StageCopy> stage_copies;
  std::span<const FarUpdate> far_updates;
  bool stage_all = false;
};
// Replaces those of the step before. Costs what both steps' lists hold.
void write_lists(const StepImage& image, const StepLists& lists);

// An image as the host's shadow has it, with the tokens that only the device knew put in:
// `consumed` [slots] by each row.
std::vector<std::byte> resolved_image(std::span<const std::byte> shadow,
                                      const StepImageShape& shape,
                                      std::span<const TokenId> consumed);

// The edit that empties a slot's row.
SlotEdit inactive_slot(SlotIndex slot);

}  // namespace kvrm
