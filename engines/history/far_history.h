// Far history (DESIGN 9) as control-plane state: which blocks of one history have become entries,
// what must be updated before a query, and how a row's virtual history is laid out. No memory and
// no pager: physical blocks are the caller's, arithmetic on keys and values is kernels/page's.
//
// The virtual history of a row, in blocks:
//   sinks      logical blocks of the history, exact
//   summaries  entry e is a position of summary block e / block_tokens
//   padding    up to a multiple of the larger of block and tile
//   window     logical blocks of the history, exact, the query's own position last
// While nothing is summarised it is the real history.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "harness/base/ids.h"
#include "harness/base/result.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/step_descriptor.h"
#include "kernels/page/kv_layout.h"

namespace kvrm {

// Options that cannot work are an error with the numbers: sinks that are no whole blocks, a window
// below a block, fewer than two entries, radii that do not fit into a block.
Status check_far_history(const FarHistoryRule& rule, const KvLayout& layout,
                         std::string_view label);

// One update, in terms of the history alone. A merge takes the oldest entry and the next one and
// leaves the result in the oldest's place; the next summarised block takes the place that is freed.
struct FarChange {
  FarUpdateKind kind = FarUpdateKind::summarise;
  std::uint32_t entry = 0;         // index of the entry that is written
  std::uint32_t source_entry = 0;  // merge: index of the entry that goes into it
  std::uint32_t block = 0;         // summarise: logical block, of no further use afterwards
  std::uint32_t count = 0;         // positions in `entry` before a merge, or in the block
  std::uint32_t source_count = 0;  // merge: positions in `source_entry`
  bool operator==(const FarChange&) const = default;
};

// How a query at one real position sees the history.
struct FarView {
  FarSpan span;                    // all zero while nothing is summarised
  std::uint32_t window_begin = 0;  // real position that lies at virtual position span.window
  std::uint32_t length = 0;        // virtual positions, the query's own included
  std::uint32_t block_tokens = 0;

  // Of a real position that is exact: below span.first, or from window_begin to the query's own.
  std::uint32_t virtual_position(std::uint32_t position) const;
};

// What a block of a virtual history is: a logical block, a summary block by its number, or nothing.
enum class FarBlockKind : std::uint8_t { history, summary, padding };
struct FarBlock {
  FarBlockKind kind = FarBlockKind::padding;
  std::uint32_t index = 0;
  bool operator==(const FarBlock&) const = default;
};
FarBlock far_block(const FarView& view, std::uint32_t virtual_block);

// Since merges always take the two oldest, one number is all the state: the blocks summarised so
// far. Index 0 is the oldest entry for ever; the others follow it in a ring. Copies freely (forks).
class FarHistory {
 public:
  // The rule is enabled and passes check_far_history().
  explicit FarHistory(const FarHistoryRule& rule);

  // The next update due before a query at `position` attends, counted as done; none when all are.
  // Every update is to be done in the order given.
  std::optional<FarChange> advance(std::uint32_t position);
  // The first position whose query needs an update that is not done.
  std::uint32_t next_due() const;

  std::uint32_t entries() const;                        // indices [0, entries()) are in use
  std::uint32_t entry_by_age(std::uint32_t age) const;  // index of the age-th oldest, from 0
  std::uint32_t count(std::uint32_t entry) const;       // positions that it stands for
  float bias(std::uint32_t entry) const;                // log of the count, for far_bias
  std::uint32_t summarised_blocks() const { return blocks_; }
  std::uint64_t summarised_positions() const { return std::uint64_t{blocks_} * rule_.block_tokens; }
  // Real positions [sink_tokens, window_begin()) are summarised.
  std::uint32_t window_begin() const;
  // CHECKs that the position is exact and that no update is due before it.
  FarView view(std::uint32_t position, std::uint32_t tile_tokens) const;

 private:
  std::uint32_t next_block() const { return rule_.sink_tokens / rule_.block_tokens + blocks_; }

  FarHistoryRule rule_;
  std::uint32_t blocks_ = 0;    // summarised
  bool entry_is_free_ = false;  // the merge before the next block is done
};

// Where a history's far history lies in the pool.
struct FarPlaces {
  std::span<const BlockIndex> summary_blocks;  // physical, by number
  BlockIndex radii_block = 0;                  // physical
};
// The record of an update; `source_block` is the physical block of change.block.
FarUpdate far_update_record(const FarChange& change, const FarPlaces& places,
                            BlockIndex source_block, std::uint32_t block_tokens);

// Most blocks that one history of `positions` positions ever needs at a time, the block that is
// being summarised included, when up to `ahead` positions past the query are written before its
// updates are done (a prefill chunk; 0 in decode steps).
struct FarBlockNeeds {
  std::uint32_t sinks = 0;
  std::uint32_t summaries = 0;
  std::uint32_t radii = 0;
  std::uint32_t window = 0;
  std::uint32_t total() const { return sinks + summaries + radii + window; }
};
FarBlockNeeds far_blocks_needed(const FarHistoryRule& rule, std::uint32_t positions,
                                std::uint32_t ahead);

// Longest virtual history of any query at a position below `positions` (at least 1). It can exceed
// `positions` where padding outweighs what the first entries save.
std::uint32_t far_length_max(const FarHistoryRule& rule, std::uint32_t tile_tokens,
                             std::uint32_t positions);

}  // namespace kvrm
