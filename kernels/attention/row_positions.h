// Which positions of its history a row's query folds in one chunk, by the row's length and its
// FarSpan: the one reading of those two for all targets. It knows no blocks and no bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "kernels/attention/attention.h"

namespace kvrm {

// Positions [first, last) but those of the gap. A tile that starts before the gap ends at it; the
// gap ends where a tile and a block start.
struct RowPositions {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  std::uint32_t gap_first = 0;
  std::uint32_t gap_last = 0;
  std::uint32_t bias_first = 0;  // positions [bias_first, gap_first) have a bias
  const float* bias = nullptr;   // of bias_first and on

  bool in_gap(std::uint32_t position) const {
    return position >= gap_first + KVRM_MUTATE(mask_gap_opens_one_late, 0U, 1U) &&
           position < gap_last;
  }
};

inline void read_far_span(const AttentionArgs& args, std::uint32_t row, RowPositions& positions) {
  const FarSpan& far = args.far[row];
  if (far.window == 0) {
    KVRM_CHECK_EQ(far.first + far.entries, 0U);
    return;
  }
  KVRM_CHECK_EQ(args.compute_length, 0U);
  KVRM_CHECK_LT(far.window, args.length[row]);
  KVRM_CHECK_LE(far.first + far.entries, far.window);
  KVRM_CHECK_EQ(far.window % std::max(args.layout.block_tokens, args.tile_tokens), 0U);
  KVRM_CHECK(far.entries == 0 || args.source.far_bias != nullptr);
  positions.gap_first = far.first + far.entries;
  positions.gap_last = far.window;
  positions.bias_first = far.first;
  const std::uint32_t history = args.history == nullptr ? row : args.history[row];
  positions.bias = args.source.far_bias + std::size_t{history} * args.source.far_bias_stride;
}

// Of a row that is no padding; nothing where the row ends before the chunk.
inline RowPositions chunk_positions(const AttentionArgs& args, std::uint32_t row,
                                    std::uint32_t chunk) {
  const std::uint32_t chunk_tokens = args.tile_tokens * args.split_tiles;
  RowPositions positions;
  positions.first = chunk * chunk_tokens;
  const std::uint32_t length =
      KVRM_MUTATE(mask_hides_last_position, args.length[row], args.length[row] - 1);
  positions.last = std::min(positions.first + chunk_tokens,
                            KVRM_MUTATE(mask_shows_next_position, length, length + 1));
  if (args.far != nullptr && positions.first < positions.last) read_far_span(args, row, positions);
  return positions;
}

}  // namespace kvrm
