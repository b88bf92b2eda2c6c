// Decode attention in the canonical order (DESIGN 5): each query folds tiles of positions in
// ascending order, sequentially within a chunk; chunk partials merge in ascending order by their
// own kernel. A row's result depends only on its query, its history's content and its length, never
// on batch, workers, bucket or layout.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>

#include "harness/contract/step_descriptor.h"
#include "harness/device/device.h"
#include "kernels/page/kv_layout.h"
#include "kernels/page/page.h"

namespace kvrm {

// How a row finds its blocks.
enum class KvAddressing : std::uint32_t {
  contiguous,  // block b of history h at base + h * history_stride + b * block_bytes
  table,       // at base + block_table[h, b] * block_bytes
  groups,  // by the group that holds b; chunk_group[h, c] is the group with the first block that
           // chunk c reads, or one before it; anything where that is none (FarSpan)
};

struct KvSource {
  KvAddressing addressing = KvAddressing::contiguous;
  std::uint32_t prefetch_runs = 0;   // 1: prefetch past the tile inside a run (table and groups)
  const std::byte* base = nullptr;   // one layer
  std::uint64_t history_stride = 0;  // bytes; contiguous
  const std::uint32_t* block_table = nullptr;  // [histories, table_stride]; table
  const KvGroup* groups = nullptr;             // [histories, table_stride]; groups
  const std::uint32_t* chunk_group = nullptr;  // [histories, chunk_stride]; groups
  std::uint32_t table_stride = 0;
  std::uint32_t chunk_stride = 0;
  std::uint32_t far_bias_stride = 0;  // floats
  // log n of the entries of each far history; null where no row has entries. [histories,
  // far_bias_stride]
  const float* far_bias = nullptr;
};

// Folds chunks of rows for all heads. One item per (row_group, chunk), attention_items() in all:
// item = chunk * attention_row_groups() + row_group. With wanted_items the first item of a row
// folds its first merged_chunks() chunks and merges them, and the items of those others do nothing;
// so most rows leave one partial, and only those much longer than the rest are shared among
// workers. Chunks past a row's length are left alone, unless compute_length asks for padded work.
//
// Positions at or past the row's length contribute exactly nothing, even where their bytes are NaN.
// A tile that is wholly masked never enters the fold: with compute_length it is computed and
// discarded.
struct AttentionArgs {
  KvLayout layout;
  KvSource source;
  std::uint32_t rows = 0;
  // At most attention_rows_per_item(). Above 1 all rows have one history, compute_length is 0, and
  // the rows of an item read each tile together (prefill). It changes no result.
  std::uint32_t rows_per_item = 1;
  std::uint32_t wanted_items = 0;  // as in AttentionMergeArgs
  std::uint32_t chunks = 0;        // chunks of the longest history this launch covers
  std::uint32_t query_heads = 0;   // a multiple of layout.kv_heads
  std::uint32_t tile_tokens = 0;   // a multiple of kLaneTokens, at most 64; divides block_tokens or
                                   // is divided by it
  std::uint32_t split_tiles = 0;
  std::uint32_t compute_length =
      0;            // static `full`: positions computed for every row; 0: stop at the length
  float scale = 0;  // 1 / sqrt(head_dim)
  std::uint32_t query_stride = 0;         // floats between rows of query
  const float* query = nullptr;           // [rows, query_heads, head_dim]
  const std::uint32_t* length = nullptr;  // [rows]; 0: padding row
  const std::uint32_t* history =
      nullptr;  // [rows] row of the source's tables; null: the row's own number
  // Far history: null, or [rows]. A row's entries have the bias source.far_bias[history, entry] on
  // their logits; the gap behind them is not looked at. Spans are zero where compute_length is not.
  const FarSpan* far = nullptr;
  float* partial = nullptr;  // [rows, chunks, query_heads, partial_stride(head_dim)]; of merged
                             // chunks a target may use the first one's only
};

// A partial of one query head: head_dim accumulators (not normalised), then the maximum logit, then
// the sum of exponentials, padded to a multiple of 16 floats. The sum of a chunk that is all gap is
// exactly 0, of any other at least 1.
constexpr std::uint32_t partial_stride(std::uint32_t head_dim) {
  return (head_dim + 2 + 15) / 16 * 16;
}

// An item's queries and partials lie in its worker's scratch.
inline constexpr std::uint32_t kMaxRowsPerItem = 16;
constexpr std::uint32_t attention_rows_per_item(std::uint32_t query_heads, std::uint32_t head_dim) {
  const std::size_t row_bytes =
      std::size_t{query_heads} * (3 * partial_stride(head_dim) + 2 * kLaneTokens) * sizeof(float);
  const std::size_t rows = std::max<std::size_t>(1, kWorkerScratchBytes / row_bytes);
  return static_cast<std::uint32_t>(std::min<std::size_t>(kMaxRowsPerItem, rows));
}
constexpr std::uint32_t attention_row_groups(const AttentionArgs& args) {
  return (args.rows + args.rows_per_item - 1) / args.rows_per_item;
}
constexpr std::uint32_t attention_items(const AttentionArgs& args) {
  return attention_row_groups(args) * args.chunks;
}

// How many chunks, from the first on, are one item: a share of 1 / wanted_items of all rows'
// chunks, at least one.
template <class Args>
std::uint32_t merged_chunks(const Args& args, std::uint32_t chunk_tokens) {
  if (args.wanted_items == 0) return 1;
  const std::uint64_t positions =
      std::accumulate(args.length, args.length + args.rows, std::uint64_t{0});
  return static_cast<std::uint32_t>(
      std::max<std::uint64_t>(1, positions / (std::uint64_t{args.wanted_items} * chunk_tokens)));
}

// Merges a row's chunk partials in ascending order and normalises; a partial with sum 0 changes
// nothing. Merging a first partial into nothing changes no bit of it, so it makes no difference
// which chunks the items of attention have merged already. Padding rows give zeros. One item per
// row.
struct AttentionMergeArgs {
  std::uint32_t rows = 0;
  std::uint32_t chunks = 0;
  std::uint32_t query_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t chunk_tokens = 0;
  std::uint32_t output_stride = 0;  // floats between rows of output
  // Of a launch: enough for its workers to share them evenly, and no more than that, since every
  // partial costs memory traffic. 0: every chunk is an item. The same for the chunks and their
  // merge.
  std::uint32_t wanted_items = 0;
  const std::uint32_t* length = nullptr;  // [rows]
  const float* partial = nullptr;         // as above
  float* output = nullptr;                // [rows, query_heads, head_dim]
};

}  // namespace kvrm
