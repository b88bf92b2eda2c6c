// What a step record may refer to: the shape of the step image, and the sizes of what its indexes
// point into. Values only; every byte of them is defined, so that they can be hashed and logged.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/base/huge_array.h"

namespace kvrm {

struct StepImageShape {
  std::uint32_t slots = 0;
  std::uint32_t max_blocks = 0;          // of one history, hence groups and far-history entries too
  std::uint32_t max_chunks = 0;          // attention chunks that begin in max_blocks blocks
  std::uint32_t extra_block_copies = 0;  // in one step, beyond one a slot
  std::uint32_t max_stage_copies = 0;    // in one step; more become stage_all

  // Entries from a slot's groups to the next slot's.
  constexpr std::uint32_t group_stride() const { return spread_stride(max_blocks, 16); }
  constexpr std::uint32_t max_block_copies() const { return slots + extra_block_copies; }
  constexpr std::uint32_t max_far_updates() const { return 2 * slots; }
};

struct StepLimits {
  StepImageShape shape;
  std::uint32_t pool_blocks = 0;
  std::uint32_t block_tokens = 0;
  std::uint32_t tile_tokens = 0;   // what a far history's window is aligned to, beside the block
  std::uint32_t max_length = 0;    // positions that a row attends; of a virtual history where far
  std::uint32_t max_position = 0;  // positions of a history
  std::uint32_t vocabulary = 0;    // 0: attention_only, where the only token is kNoToken
  std::uint32_t reserved = 0;
  std::uint64_t max_table_bytes = 0;  // of a record's table edits; more become a full commit
};
static_assert(sizeof(StepLimits) == 56);

// Bytes that the largest record of either kind takes; a multiple of 8.
std::size_t record_capacity(const StepLimits& limits);

// The bound at which table edits stop being worth it: an edited entry takes about half the bytes of
// the image's, and twice the work. A multiple of 8.
std::uint64_t default_max_table_bytes(const StepImageShape& shape);

}  // namespace kvrm
