// What a pool keeps of each block: eight bytes, since an operation on a block of a large pool costs
// what fetching them costs. Which bit means what, and whose it is, is said here; keeping it so is
// the pool's.
#pragma once

#include <cstdint>

namespace kvrm {

struct BlockState {
  // Live and pinned: the owners, and the flags below. Quarantined: 0. Free: 0, or kFree and, in all
  // other bits, whatever the free list wants to know.
  std::uint32_t word = 0;
  std::uint32_t generation = 0;  // how often the block was handed out

  static constexpr std::uint32_t kFree = 1U << 31;
  static constexpr std::uint32_t kDestination = 1U << 30;  // of a queued copy
  static constexpr std::uint32_t kSource = 1U << 29;       // of queued copies
  static constexpr std::uint32_t kNoted = 1U << 28;        // its owners have left a note
  static constexpr std::uint32_t kOwners = kNoted - 1;

  bool is_taken() const { return word != 0 && (word & kFree) == 0; }
  std::uint32_t owners() const { return is_taken() ? word & kOwners : 0; }
};
static_assert(sizeof(BlockState) == 8);

}  // namespace kvrm
