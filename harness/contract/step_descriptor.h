// The step descriptor's record: the one thing by which a replay of kvrm's graph learns what to do
// in a step (DESIGN 7). This header is its byte layout; engines/descriptor builds, commits and
// applies it.
//
// A record is a header, then its slot edits, its table edits and its copies, without gaps; a full
// commit carries the whole step image instead of edits. All integers are little-endian; every byte
// is defined.
#pragma once

#include <cstdint>

#include "harness/base/ids.h"

namespace kvrm {

inline constexpr std::uint32_t kStepRecordMagic = 0x3152564bU;  // "KVR1"

enum class CommitKind : std::uint32_t { edits = 1, full = 2 };

struct StepRecordHeader {
  std::uint32_t magic = kStepRecordMagic;
  CommitKind kind = CommitKind::edits;
  Epoch epoch = 0;  // one more than the last applied
  std::uint32_t slot_edits = 0;
  std::uint32_t table_edits = 0;
  std::uint32_t copies = 0;
  std::uint32_t image_bytes = 0;  // full commits only
  std::uint64_t checksum = 0;     // over every byte of the record with this field zero
};
static_assert(sizeof(StepRecordHeader) == 40);

enum SlotEditFlags : std::uint32_t {
  kSlotActive = 1U << 0,  // the slot holds a request in this step
  kTokenGiven = 1U << 1,  // consume `token`; otherwise the token last sampled on the device
};

// Replaces every per-slot field of one slot. The position that the step writes is length - 1.
struct SlotEdit {
  std::uint32_t slot = 0;
  std::uint32_t flags = 0;
  std::uint32_t token = 0;
  std::uint32_t length = 0;  // positions that attention reads, the new one included; 0: inactive
  std::uint64_t write_slot = 0;  // physical block * block_tokens + offset; kNoWrite: write nothing
  std::uint64_t content_key = 0;
};
static_assert(sizeof(SlotEdit) == 32);

// Replaces one entry of one of the image's tables.
enum class StepTable : std::uint32_t { group = 0, chunk_group = 1 };

struct TableEdit {
  std::uint32_t slot = 0;
  StepTable table = StepTable::group;
  std::uint32_t index = 0;     // entry within the slot's row
  std::uint32_t blocks = 0;    // group: blocks in it, 0 clears the entry
  std::uint32_t logical = 0;   // group: first logical block; chunk_group: the value
  std::uint32_t physical = 0;  // group: first physical block
};
static_assert(sizeof(TableEdit) == 24);

// How a row sees a far history. The positions of a row's virtual history are: those below `first`
// exact; `entries` summaries from `first` on; nothing up to `window`; exact again from `window` on.
// Without far history all three are 0.
struct FarSpan {
  std::uint32_t first = 0;    // virtual position of the first entry, a multiple of the block
  std::uint32_t entries = 0;  // positions [first, first + entries) have a bias
  std::uint32_t window = 0;   // positions [first + entries, window) contribute exactly nothing; a
                              // multiple of the larger of block and tile, and never below the gap's
                              // first
};
static_assert(sizeof(FarSpan) == 12);

// A device-side update of one history's far history, before anything of the step attends.
enum class FarUpdateKind : std::uint32_t { summarise = 1, merge = 2 };

struct FarUpdate {
  FarUpdateKind kind = FarUpdateKind::summarise;
  BlockIndex radii_block = 0;      // holds the radii of the history's entries
  std::uint32_t entry = 0;         // index of the entry that is written
  std::uint32_t source_entry = 0;  // merge: index of the entry that goes into it
  std::uint64_t entry_slot = 0;    // block * block_tokens + offset of the entry that is written
  std::uint64_t source_slot = 0;   // merge: of the entry that goes into it; summarise: of the
                                   // block's first position
  std::uint32_t count = 0;         // merge: positions in `entry` before; summarise: in the block
  std::uint32_t source_count = 0;  // merge: positions in `source_entry`
};
static_assert(sizeof(FarUpdate) == 40);

// A device-side copy of whole blocks inside the pool, before anything of the step reads it.
struct BlockCopy {
  BlockIndex source = 0;
  BlockIndex destination = 0;
  std::uint32_t blocks = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(BlockCopy) == 16);

// A device-side copy of a transfer group from the pool into a slot's contiguous view.
struct StageCopy {
  std::uint32_t slot = 0;
  std::uint32_t logical = 0;   // first block in the view
  std::uint32_t physical = 0;  // first block in the pool
  std::uint32_t blocks = 0;
};
static_assert(sizeof(StageCopy) == 16);

inline constexpr std::uint64_t kNoWrite = ~std::uint64_t{0};

}  // namespace kvrm
