#include "kernels/attention/attention_item.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "kernels/attention/block_cursor.h"
#include "kernels/attention/prefetch.h"
#include "kernels/attention/row_positions.h"

namespace kvrm {
namespace {

// How far ahead of the fold memory is prefetched, in tiles of one head. Farther along a run, where
// what comes next lies next.
constexpr std::uint32_t kPrefetchPositions = 32;
constexpr std::uint32_t kPrefetchPositionsInRun = 64;

// Hands out parts of a worker's scratch.
class Scratch {
 public:
  explicit Scratch(std::span<std::byte> bytes) : bytes_(bytes) {}
  float* floats(std::size_t count) {
    const std::size_t first = used_;
    used_ += round_up(count * sizeof(float), kCacheLine);
    KVRM_CHECK_LE(used_, bytes_.size());
    return reinterpret_cast<float*>(bytes_.data() + first);
  }

 private:
  std::span<std::byte> bytes_;
  std::size_t used_ = 0;
};

FoldState make_state(const AttentionArgs& args, Scratch& scratch) {
  const std::size_t stride = partial_stride(args.layout.head_dim);
  return {scratch.floats(args.query_heads * stride), stride, scratch.floats(args.query_heads),
          scratch.floats(std::size_t{args.query_heads} * kLaneTokens)};
}

void start_fold(const AttentionArgs& args, const FoldState& state) {
  std::fill_n(state.accumulator, args.query_heads * state.accumulator_stride, 0.0F);
  std::fill_n(state.maximum, args.query_heads, -std::numeric_limits<float>::infinity());
  std::fill_n(state.sum, args.query_heads * kLaneTokens, 0.0F);
}

// Puts maximum and sum of each head behind its accumulators, as a partial has them.
void finish_fold(const AttentionArgs& args, const FoldState& state) {
  for (std::size_t head = 0; head < args.query_heads; ++head) {
    float sum = 0;
    for (std::size_t lane = 0; lane < kLaneTokens; ++lane) {
      sum += state.sum[head * kLaneTokens + lane];
    }
    float* behind = state.accumulator + head * state.accumulator_stride + args.layout.head_dim;
    behind[0] = state.maximum[head];
    behind[1] = sum;
  }
}

// The row's queries times the scale, so that no logit needs it.
FoldShape prepare_queries(const AttentionArgs& args, std::uint32_t row, const TypeFolds& folds,
                          Scratch& scratch) {
  const std::size_t count = std::size_t{args.query_heads} * args.layout.head_dim;
  const float* query = args.query + std::size_t{row} * args.query_stride;
  float* scaled = scratch.floats(count);
  for (std::size_t i = 0; i < count; ++i) scaled[i] = query[i] * args.scale;
  if (folds.prepare_queries != nullptr) folds.prepare_queries(scaled, count);
  return {scaled, args.layout.head_dim, args.query_heads / args.layout.kv_heads};
}

std::uint32_t prefetch_tiles(const AttentionArgs& args) {
  const bool in_run =
      args.source.addressing == KvAddressing::contiguous || args.source.prefetch_runs != 0;
  const std::uint32_t positions = in_run ? kPrefetchPositionsInRun : kPrefetchPositions;
  return std::max(1U, positions / args.tile_tokens);
}

// Wholly masked groups of positions of a chunk, which `static` `full` computes and drops.
RowPositions masked_positions(const AttentionArgs& args, const RowPositions& positions) {
  const auto lanes = args.layout.lane_tokens();
  RowPositions masked;
  masked.first =
      std::max(positions.first, static_cast<std::uint32_t>(round_up(positions.last, lanes)));
  masked.last =
      std::min(positions.first + args.tile_tokens * args.split_tiles, args.compute_length);
  return masked;
}

// Of a row, all positions that are computed in a chunk, masked ones included.
RowPositions computed_positions(const AttentionArgs& args, std::uint32_t row, std::uint32_t chunk) {
  RowPositions positions = chunk_positions(args, row, chunk);
  positions.last = std::max(positions.last, masked_positions(args, positions).last);
  return positions;
}

template <class Cursor>
TileWalk<Cursor> walk_chunk(const AttentionArgs& args, std::uint32_t row, std::uint32_t chunk,
                            const RowPositions& positions) {
  const std::uint32_t history = args.history == nullptr ? row : args.history[row];
  return {args, Cursor(args.source, args.layout.block_bytes(), history, chunk), positions};
}

// Runs some tiles ahead of the fold of one row, from chunk to chunk, and says what to prefetch.
template <class Cursor>
class AheadWalk {
 public:
  AheadWalk(const AttentionArgs& args, std::uint32_t row, std::uint32_t chunk,
            std::uint32_t last_chunk)
      : args_(args), row_(row), chunk_(chunk), last_chunk_(last_chunk), walk_(walk()) {
    find_tile();
    for (std::uint32_t i = prefetch_tiles(args); i > 0; --i) advance();
  }

  // Past the end the last tile again, which costs little.
  const TileView& tile() const { return walk_.tile(); }

  void advance() {
    if (walk_.done()) return;
    walk_.advance();
    find_tile();
  }

 private:
  TileWalk<Cursor> walk() const {
    return walk_chunk<Cursor>(args_, row_, chunk_, computed_positions(args_, row_, chunk_));
  }
  void find_tile() {
    while (walk_.done() && ++chunk_ < last_chunk_) {
      if (auto next = walk(); !next.done()) walk_ = next;
    }
  }

  const AttentionArgs& args_;
  std::uint32_t row_;
  std::uint32_t chunk_;
  std::uint32_t last_chunk_;
  TileWalk<Cursor> walk_;
};

// One row of an item, and its positions of the chunk that is folded. Partials stay in the worker's
// own cache until the item ends.
struct ItemRow {
  std::uint32_t row = 0;
  FoldShape shape;
  FoldState state;
  float* merged = nullptr;  // of the chunks before, laid out as the state's accumulators
  bool has_merged = false;
  RowPositions positions;
};

// Folds the rows of an item, chunk by chunk.
template <class Cursor>
class ItemFold {
 public:
  ItemFold(const AttentionArgs& args, const ItemRows& item, Scratch scratch, const TileFolds& folds)
      : args_(args),
        item_(item),
        folds_(folds[static_cast<std::size_t>(args.layout.dtype)]),
        fold_(args.layout.lane_tokens() == kLaneTokens ? folds_.groups : folds_.small_groups) {
    for (std::uint32_t row = item.first; row < item.last; ++row) {
      ItemRow& one = rows_[row - item.first];
      one.row = row;
      one.shape = prepare_queries(args, row, folds_, scratch);
      one.state = make_state(args, scratch);
      one.merged = scratch.floats(args.query_heads * one.state.accumulator_stride);
    }
  }

  void run() {
    AheadWalk<Cursor> ahead(args_, longest_row(), item_.first_chunk, item_.last_chunk);
    for (std::uint32_t chunk = item_.first_chunk; chunk < item_.last_chunk; ++chunk) {
      const std::span<ItemRow> rows = start_chunk(chunk);
      const bool alike = std::all_of(rows.begin(), rows.end(), [](const ItemRow& row) {
        return row.positions.gap_last == 0;  // a gap is the row's own
      });
      if (alike || rows.size() == 1) {
        fold_rows(rows, chunk, ahead);
      } else {
        fold_apart(rows, chunk);
      }
      for (ItemRow& row : rows) finish_chunk(row);
      if (args_.compute_length != 0) fold_masked(chunk, ahead);
    }
    for (const ItemRow& row : rows()) store(row);
  }

 private:
  std::uint32_t longest_row() const {
    return static_cast<std::uint32_t>(
        std::max_element(args_.length + item_.first, args_.length + item_.last) - args_.length);
  }

  std::span<ItemRow> rows() { return std::span(rows_).first(item_.last - item_.first); }

  void finish_chunk(ItemRow& row) const {
    finish_fold(args_, row.state);
    if (KVRM_MUTATE(items_forget_earlier_chunks, row.has_merged, false)) {
      const std::size_t stride = row.state.accumulator_stride;
      for (std::size_t head = 0; head < args_.query_heads; ++head) {
        folds_.merge(row.merged + head * stride, row.state.accumulator + head * stride,
                     args_.layout.head_dim);
      }
    } else {
      std::swap(row.merged, row.state.accumulator);
      row.has_merged = true;
    }
  }

  void store(const ItemRow& row) const {
    if (!row.has_merged) return;
    const std::size_t stride = row.state.accumulator_stride;
    float* partial = args_.partial + (std::size_t{row.row} * args_.chunks + item_.first_chunk) *
                                         args_.query_heads * stride;
    for (std::size_t head = 0; head < args_.query_heads; ++head) {
      folds_.store(row.merged + head * stride, args_.layout.head_dim, partial + head * stride);
    }
  }

  // The rows that have positions in the chunk come first, and are ready to be folded.
  std::span<ItemRow> start_chunk(std::uint32_t chunk) {
    const auto end = std::partition(rows().begin(), rows().end(), [&](ItemRow& row) {
      row.positions = chunk_positions(args_, row.row, chunk);
      return row.positions.first < row.positions.last;
    });
    const std::span<ItemRow> started(rows().begin(), end);
    for (const ItemRow& row : started) start_fold(args_, row.state);
    return started;
  }

  // The longest row's positions are walked, and every row takes what it sees of each tile.
  void fold_rows(std::span<const ItemRow> rows, std::uint32_t chunk, AheadWalk<Cursor>& ahead) {
    if (rows.empty()) return;
    const ItemRow& longest = *std::max_element(
        rows.begin(), rows.end(),
        [](const ItemRow& a, const ItemRow& b) { return a.positions.last < b.positions.last; });
    for (auto walk = walk_chunk<Cursor>(args_, longest.row, chunk, longest.positions); !walk.done();
         walk.advance()) {
      const TileView* next = &ahead.tile();
      for (const ItemRow& row : rows) {
        if (walk.position() >= row.positions.last) continue;
        const std::uint32_t seen = row.positions.last - walk.position();
        const std::uint32_t positions =
            KVRM_MUTATE(items_rows_see_whole_tiles, (std::min(seen, walk.tile().positions)),
                        walk.tile().positions);
        fold_(row.shape, walk.tile(), positions, next, row.state);
        next = nullptr;
      }
      ahead.advance();
    }
  }

  void fold_apart(std::span<const ItemRow> rows, std::uint32_t chunk) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      AheadWalk<Cursor> ahead(args_, rows[i].row, chunk, chunk + 1);
      fold_rows(rows.subspan(i, 1), chunk, ahead);
    }
  }

  void fold_masked(std::uint32_t chunk, AheadWalk<Cursor>& ahead) {
    KVRM_CHECK_EQ(args_.rows_per_item, 1U);
    ItemRow row = rows_[0];
    row.positions = masked_positions(args_, chunk_positions(args_, row.row, chunk));
    if (row.positions.first >= row.positions.last) return;
    start_fold(args_, row.state);
    fold_rows({&row, 1}, chunk, ahead);
  }

  const AttentionArgs& args_;
  ItemRows item_;
  const TypeFolds& folds_;
  TileFold fold_;
  std::array<ItemRow, kMaxRowsPerItem> rows_;
};

template <class Cursor>
void fold_item_from(const AttentionArgs& args, std::uint32_t item, WorkerContext& worker,
                    const TileFolds& folds) {
  const ItemRows rows = item_rows(args, item);
  if (rows.first_chunk == rows.last_chunk) return;
  ItemFold<Cursor>(args, rows, Scratch(worker.scratch), folds).run();
}

}  // namespace

void fold_item(const AttentionArgs& args, std::uint32_t item, WorkerContext& worker,
               const TileFolds& folds) {
  KVRM_CHECK_LE(args.tile_tokens, kMaxTileTokens);
  KVRM_CHECK_LE(args.rows_per_item, kMaxRowsPerItem);
  switch (args.source.addressing) {
    case KvAddressing::contiguous:
      return fold_item_from<ContiguousCursor>(args, item, worker, folds);
    case KvAddressing::table:
      return fold_item_from<TableCursor>(args, item, worker, folds);
    case KvAddressing::groups:
      return fold_item_from<GroupCursor>(args, item, worker, folds);
  }
}

}  // namespace kvrm
