// Which rows and chunk an item is, and which positions of its history a row's query folds in a
// chunk, by the row's length and its FarSpan: the one reading of those for all targets. It knows no
// blocks and no bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "kernels/attention/attention.h"

namespace kvrm {

// Rows [first, last), and of the item's chunks [first_chunk, last_chunk) those that the longest of
// them reaches.
struct ItemRows {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  std::uint32_t first_chunk = 0;
  std::uint32_t last_chunk = 0;
};

inline ItemRows item_rows(const AttentionArgs& args, std::uint32_t item) {
  const std::uint32_t groups = attention_row_groups(args);
  const std::uint32_t chunk_tokens = args.tile_tokens * args.split_tiles;
  ItemRows rows;
  rows.first = item % groups * args.rows_per_item;
  rows.last = std::min(args.rows, rows.first + args.rows_per_item);
  rows.first_chunk = rows.last_chunk = item / groups;
  const std::uint32_t length = *std::max_element(args.length + rows.first, args.length + rows.last);
  const auto reached =
      static_cast<std::uint32_t>(divide_up(std::max(length, args.compute_length), chunk_tokens));
  if (rows.first_chunk >= reached) return rows;
  const std::uint32_t merged = merged_chunks(args, chunk_tokens);
  if (rows.first_chunk == 0) {
    rows.last_chunk = std::min(
        merged - KVRM_MUTATE(items_last_merged_chunk_missing, 0U, merged > 1 ? 1U : 0U), reached);
  } else if (rows.first_chunk >= merged) {
    rows.last_chunk = rows.first_chunk + 1;
  }
  return rows;
}

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
