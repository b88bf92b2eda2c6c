// The step descriptor's record: the one thing by which a replay of kvrm's graph learns what to do
// in a step (DESIGN 7). This header is its byte layout; engines/descriptor builds, commits and
// applies it.
//
// A record is a header, then, without gaps, its slot edits, table edits, block copies, stage copies
// and far updates; a full commit carries the whole step image instead. Every part is a multiple of
// 8 bytes. All integers are little-endian; every byte is defined. The copies and updates are of
// this record's step alone: they replace those of the step before.
#pragma once

#include <cstdint>

#include "harness/base/ids.h"

namespace kvrm {

inline constexpr std::uint32_t kStepRecordMagic = 0x3252564bU;  // "KVR2"

enum class CommitKind : std::uint32_t { edits = 1, full = 2 };

enum StepRecordFlags : std::uint32_t {
  // Every slot that is active in the image and has no slot edit in this record goes on by one
  // position inside its block: it consumes the token last sampled on the device, and its position,
  // length and write slot rise by one.
  kAdvance = 1U << 0,
};

struct StepRecordHeader {
  std::uint32_t magic = kStepRecordMagic;
  CommitKind kind = CommitKind::edits;
  Epoch epoch = 0;  // one more than the last applied
  std::uint32_t flags = 0;
  std::uint32_t slot_edits = 0;
  std::uint32_t table_edits = 0;
  std::uint32_t block_copies = 0;
  std::uint32_t stage_copies = 0;
  std::uint32_t far_updates = 0;
  std::uint64_t table_bytes = 0;    // of the table edits with their values
  std::uint64_t image_bytes = 0;    // full commits only
  std::uint64_t body_checksum = 0;  // of everything behind the header (engines/descriptor)
  std::uint64_t checksum = 0;       // of the header with this field zero
};
static_assert(sizeof(StepRecordHeader) == 72);

inline constexpr std::uint64_t kNoWrite = ~std::uint64_t{0};

// Where a full commit's image has one of these for a row's token: the one last sampled on the
// device, and the one that the device's image holds already. Never in the image itself.
inline constexpr TokenId kSampledToken = 0xfffffffeU;
inline constexpr TokenId kKeptToken = 0xfffffffdU;

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

enum SlotEditFlags : std::uint32_t {
  kSlotActive = 1U << 0,  // the slot holds a request in this step
  kTokenGiven = 1U << 1,  // consume `token`; otherwise the token last sampled on the device
};

// Replaces every per-slot field of one slot. A record's slot edits ascend by slot.
struct SlotEdit {
  std::uint32_t slot = 0;
  std::uint32_t flags = 0;
  TokenId token = kNoToken;    // kNoToken where it is not given
  std::uint32_t position = 0;  // in the logical history, of what the step writes
  std::uint32_t length = 0;    // positions that attention reads, the new one included; 0: inactive;
                               // with far history of the virtual history
  FarSpan far;
  // Physical block * block_tokens + offset; kNoWrite where inactive.
  std::uint64_t write_slot = kNoWrite;
  std::uint64_t content_key = 0;
};
static_assert(sizeof(SlotEdit) == 48);

enum class StepTable : std::uint16_t { group = 0, chunk_group = 1, far_bias = 2 };

// Replaces `count` consecutive entries of a slot's row of one of the image's tables. The values
// follow at once: of `group` 8 bytes each (pack_group), groups before cleared entries; otherwise 4
// bytes each, the last 8 filled up with zeros. A later edit of an entry replaces an earlier one.
struct TableEdit {
  std::uint32_t slot = 0;
  StepTable table = StepTable::group;
  std::uint16_t count = 0;    // at least 1
  std::uint32_t index = 0;    // the first entry
  std::uint32_t logical = 0;  // group: the first entry's first logical block, each next begins
                              // where the one before it ends; 0 where the first entry is cleared
};
static_assert(sizeof(TableEdit) == 16);

// A group's value in a record; 0 clears the entry.
constexpr std::uint64_t pack_group(BlockIndex physical, std::uint32_t blocks) {
  return physical | std::uint64_t{blocks} << 32;
}

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

// A device-side copy of whole blocks inside the pool, before anything of the step reads it. A
// record's block copies ascend by destination; no destination is another copy's source or
// destination.
struct BlockCopy {
  BlockIndex source = 0;
  BlockIndex destination = 0;
  std::uint32_t blocks = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(BlockCopy) == 16);

// A device-side copy of a transfer group from the pool into a slot's contiguous view. A record's
// stage copies ascend by slot, then by logical block; no place is written twice.
struct StageCopy {
  std::uint32_t slot = 0;
  std::uint32_t logical = 0;   // first block in the view
  std::uint32_t physical = 0;  // first block in the pool
  std::uint32_t blocks = 0;
};
static_assert(sizeof(StageCopy) == 16);

}  // namespace kvrm
