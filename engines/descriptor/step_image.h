// The step image: everything that the replayed graph of `kvrm` reads about a step, at fixed
// addresses and in fixed shapes. Row = slot. It is changed only by applying a step record
// (apply_step.h); this header is its layout and the meaning of one edit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engines/decoder/row_arrays.h"
#include "harness/base/ids.h"
#include "harness/contract/step_descriptor.h"
#include "kernels/page/page.h"

namespace kvrm {

struct StepImageShape {
  std::uint32_t slots = 0;
  std::uint32_t max_blocks = 0;  // of one history, hence groups too
  std::uint32_t max_chunks = 0;  // attention chunks that begin in max_blocks blocks
};

// Pointers into an image's memory; on the device, or in the host's shadow of it.
struct StepImage {
  RowArrays rows;                        // [slots], padded to whole row tiles
  KvGroup* groups = nullptr;             // [slots, max_blocks], used entries first, then zeros
  std::uint32_t* chunk_group = nullptr;  // [slots, max_chunks], used entries first, then zeros
};

// Bytes of an image; a multiple of 8.
std::size_t step_image_bytes(const StepImageShape& shape);
// The image laid out in memory of step_image_bytes(), aligned to 64 bytes.
StepImage place_step_image(std::byte* memory, const StepImageShape& shape);
// Every byte defined: no slot holds a request, every table entry is zero.
void clear_step_image(std::byte* memory, const StepImageShape& shape);

// Replaces the slot's per-row fields. `token` is the token that the row consumes, wherever it came
// from. `history` is the slot itself: its tables are its own.
void write_slot_edit(const StepImage& image, const SlotEdit& edit, TokenId token);
void write_table_edit(const StepImage& image, const StepImageShape& shape, const TableEdit& edit);

// The edit that empties a slot's row.
SlotEdit inactive_slot(SlotIndex slot);

}  // namespace kvrm
