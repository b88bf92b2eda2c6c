// The order in which an item of attention visits memory: spans of one block (or one tile, where
// that is larger), in a span head by head, for each head tile by tile. So blocks are read as they
// lie, and every head still sees its tiles in ascending order. No arithmetic on KV here.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention.h"

namespace kvrm {

inline constexpr std::uint32_t kMaxTileTokens = 64;
inline constexpr std::uint32_t kMaxTileGroups = kMaxTileTokens / kLaneTokens;

// One kv head's positions of one tile. Entries past the last group repeat it.
struct TileView {
  std::uint32_t kv_head = 0;
  std::uint32_t positions = 0;                          // 1 .. tile_tokens
  std::array<const std::byte*, kMaxTileGroups> keys;    // of each 16 positions
  std::array<const std::byte*, kMaxTileGroups> values;  // of each 16 positions
};

// Visits all kv heads over positions [first, last) of a history; `first` is a multiple of
// kLaneTokens. Cursor: block_cursor.h.
template <class Cursor>
class TileWalk {
 public:
  TileWalk(const AttentionArgs& args, Cursor cursor, std::uint32_t first, std::uint32_t last)
      : layout_(args.layout),
        tile_tokens_(args.tile_tokens),
        head_bytes_(args.layout.head_bytes()),
        half_bytes_(args.layout.half_bytes()),
        token_bytes_(args.layout.head_dim * dtype_bytes(args.layout.dtype)),
        cursor_(cursor),
        last_(last) {
    enter_span(first);
  }

  bool done() const { return position_ >= last_; }
  const TileView& tile() const { return tile_; }

  void advance() {
    position_ += tile_.positions;
    if (position_ < span_last_) return locate();
    if (++tile_.kv_head < layout_.kv_heads) {
      position_ = span_first_;
      return locate();
    }
    enter_span(span_last_);
  }

 private:
  void enter_span(std::uint32_t first) {
    span_first_ = position_ = first;
    if (done()) return;
    const std::uint32_t unit = std::max(layout_.block_tokens, tile_tokens_);
    span_last_ = std::min(last_, (first / unit + 1) * unit);
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
    const std::byte* place = nullptr;
    for (std::uint32_t group = 0; group < kMaxTileGroups; ++group) {
      if (group * kLaneTokens < tile_.positions) place = find(position_ + group * kLaneTokens);
      tile_.keys[group] = place;
      tile_.values[group] = place + half_bytes_;
    }
  }

  const std::byte* find(std::uint32_t position) const {
    std::uint32_t token = position - block_first_;
    std::uint32_t block = 0;
    for (; token >= layout_.block_tokens; token -= layout_.block_tokens) ++block;
    return blocks_[block] + tile_.kv_head * head_bytes_ + token * token_bytes_;
  }

  KvLayout layout_;
  std::uint32_t tile_tokens_;
  std::uint64_t head_bytes_;
  std::uint64_t half_bytes_;
  std::uint64_t token_bytes_;
  Cursor cursor_;
  std::uint32_t last_;

  std::uint32_t span_first_ = 0;
  std::uint32_t span_last_ = 0;
  std::uint32_t block_first_ = 0;  // first position of the span's first block
  std::uint32_t position_ = 0;
  std::array<const std::byte*, kMaxTileGroups> blocks_{};
  TileView tile_;
};

}  // namespace kvrm
