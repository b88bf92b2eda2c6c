// What a pool keeps of each block: a byte, so that those of a million blocks stay in the caches
// nearest to a core, and details of the few blocks of which a byte does not say everything. What
// means what is said here; keeping it so is the pool's and the free list's.
#pragma once

#include <cstdint>

namespace kvrm {

// Any value between `owned` and `special`: live, with that many owners, in no queued copy and
// without a note.
enum class BlockUse : std::uint8_t {
  free = 0,        // in the free list
  owned = 1,       // live with one owner; otherwise as those below
  special = 254,   // live or pinned: whatever its details say
  returned = 255,  // without an owner, and not in the free list: quarantined, or on its way
};

// The most owners that a BlockUse can say.
inline constexpr std::uint32_t kMostPlainOwners = static_cast<std::uint32_t>(BlockUse::special) - 1;

struct BlockDetail {
  // Of a block that is `special`: its owners, and the flags below.
  std::uint32_t word = 0;
  std::uint32_t note = 0;      // where kNoted
  std::uint32_t copy_use = 0;  // kDestination: index of its queued copy; kSource: its copies

  static constexpr std::uint32_t kDestination = 1U << 30;  // of a queued copy
  static constexpr std::uint32_t kSource = 1U << 29;       // of queued copies
  static constexpr std::uint32_t kNoted = 1U << 28;        // its owners have left a note
  static constexpr std::uint32_t kOwners = kNoted - 1;
};

}  // namespace kvrm
