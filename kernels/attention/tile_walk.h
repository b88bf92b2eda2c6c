// The order in which an item of attention visits memory: spans of one block (or one tile, where
// that is larger), in a span head by head, for each head tile by tile. So blocks are read as they
// lie, and every head still sees its tiles in ascending order. A far history's gap is stepped over.
// No arithmetic on KV here.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "harness/base/mutation.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/row_positions.h"

namespace kvrm {

inline constexpr std::uint32_t kMaxTileTokens = 64;
inline constexpr std::uint32_t kMaxTileGroups = kMaxTileTokens / kSmallBlockTokens;

// One kv head's positions of one tile. Entries up to the tile's last group repeat the last one that
// has positions.
struct TileView {
  std::uint32_t kv_head = 0;
  std::uint32_t positions = 0;                            // 1 .. tile_tokens
  std::array<const std::byte*, kMaxTileGroups> keys{};    // of each lane_tokens() positions
  std::array<const std::byte*, kMaxTileGroups> values{};  // of each lane_tokens() positions
  std::uint32_t bias_first = 0;  // positions [bias_first, bias_last) of the tile have a bias
  std::uint32_t bias_last = 0;
  const float* bias = nullptr;  // of bias_first and on
};

// Visits all kv heads over some positions of a history, the first of which starts a lane group.
// Cursor: block_cursor.h.
template <class Cursor>
class TileWalk {
 public:
  TileWalk(const AttentionArgs& args, Cursor cursor, const RowPositions& positions)
      : layout_(args.layout),
        tile_tokens_(args.tile_tokens),
        head_bytes_(args.layout.head_bytes()),
        half_bytes_(args.layout.half_bytes()),
        token_bytes_(args.layout.head_dim * dtype_bytes(args.layout.dtype)),
        lane_tokens_(args.layout.lane_tokens()),
        cursor_(cursor),
        positions_(positions) {
    enter_span(positions.first);
  }

  bool done() const { return position_ >= positions_.last; }
  const TileView& tile() const { return tile_; }
  std::uint32_t position() const { return position_; }  // of the tile's first

  void advance() {
    position_ += tile_.positions;
    if (position_ + KVRM_MUTATE(tile_end_skipped, 0U, 1U) < span_last_) return locate();
    if (++tile_.kv_head < layout_.kv_heads) {
      position_ = span_first_;
      return locate();
    }
    enter_span(span_last_);
  }

 private:
  // In a gap no block is asked for: its ids mean nothing.
  void enter_span(std::uint32_t first) {
    if (positions_.in_gap(first)) first = positions_.gap_last;
    span_first_ = position_ = first;
    if (done()) return;
    const std::uint32_t unit = std::max(layout_.block_tokens, tile_tokens_);
    span_last_ = std::min(positions_.last, (first / unit + 1) * unit);
    if (KVRM_MUTATE(mask_reads_into_gap, first < positions_.gap_first, false))
      span_last_ = std::min(span_last_, positions_.gap_first);
    const std::uint32_t block = first / layout_.block_tokens;
    block_first_ = block * layout_.block_tokens;
    for (std::uint32_t i = 0; block_first_ + i * layout_.block_tokens < span_last_; ++i) {
      blocks_[i] = cursor_.block(block + i);
    }
    tile_.kv_head = 0;
    locate();
  }

  void locate() {
    const std::uint32_t tile_last = (position_ / tile_tokens_ + 1) * tile_tokens_;
    tile_.positions = std::min(tile_last, span_last_) - position_;
    locate_bias();
    std::uint32_t token = position_ - block_first_;
    std::uint32_t block = 0;
    for (; token >= layout_.block_tokens; token -= layout_.block_tokens) ++block;
    const std::byte* head = blocks_[block] + tile_.kv_head * head_bytes_;
    const std::byte* place = nullptr;
    for (std::uint32_t group = 0; group < tile_tokens_ / lane_tokens_; ++group) {
      if (group * lane_tokens_ < tile_.positions) {
        if (KVRM_MUTATE(tile_stays_in_block, token == layout_.block_tokens, false)) {
          token = 0;
          head = blocks_[++block] + tile_.kv_head * head_bytes_;
        }
        place = head + token * token_bytes_;
        token += lane_tokens_;
      }
      tile_.keys[group] = place;
      tile_.values[group] = place + half_bytes_;
    }
  }

  void locate_bias() {
    if (positions_.bias_first >= positions_.gap_first) return;
    const auto in_tile = [&](std::uint32_t position) {
      return std::clamp(position, position_, position_ + tile_.positions) - position_;
    };
    tile_.bias_first = in_tile(positions_.bias_first);
    tile_.bias_last = in_tile(positions_.gap_first - KVRM_MUTATE(mask_last_entry_unbiased, 0U, 1U));
    if (tile_.bias_first == tile_.bias_last) return;
    tile_.bias = positions_.bias + (position_ + tile_.bias_first - positions_.bias_first);
  }

  KvLayout layout_;
  std::uint32_t tile_tokens_;
  std::uint64_t head_bytes_;
  std::uint64_t half_bytes_;
  std::uint64_t token_bytes_;
  std::uint32_t lane_tokens_;
  Cursor cursor_;
  RowPositions positions_;

  std::uint32_t span_first_ = 0;
  std::uint32_t span_last_ = 0;
  std::uint32_t block_first_ = 0;  // first position of the span's first block
  std::uint32_t position_ = 0;
  std::array<const std::byte*, kMaxTileGroups> blocks_{};
  TileView tile_;
};

}  // namespace kvrm
