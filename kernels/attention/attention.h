// Decode attention in the canonical order (DESIGN 5): each query folds tiles of positions in
// ascending order, sequentially within a chunk; chunk partials merge in ascending order by their
// own kernel. A row's result depends only on its query, its history's content and its length, never
// on batch, workers, bucket or layout.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/contract/step_descriptor.h"
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

// Folds one chunk of one row for all heads. One item per (row, chunk): item = chunk * rows + row.
// Items past a row's length do nothing, unless compute_length asks for padded work.
//
// Positions at or past the row's length contribute exactly nothing, even where their bytes are NaN.
// A tile that is wholly masked never enters the fold: with compute_length it is computed and
// discarded.
struct AttentionArgs {
  KvLayout layout;
  KvSource source;
  std::uint32_t rows = 0;
  std::uint32_t chunks = 0;       // chunks of the longest history this launch covers
  std::uint32_t query_heads = 0;  // a multiple of layout.kv_heads
  std::uint32_t tile_tokens = 0;  // a multiple of kLaneTokens, at most 64; divides block_tokens or
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
  float* partial = nullptr;  // [rows, chunks, query_heads, partial_stride(head_dim)]
};

// A partial of one query head: head_dim accumulators (not normalised), then the maximum logit, then
// the sum of exponentials, padded to a multiple of 16 floats. The sum of a chunk that is all gap is
// exactly 0, of any other at least 1.
constexpr std::uint32_t partial_stride(std::uint32_t head_dim) {
  return (head_dim + 2 + 15) / 16 * 16;
}

// Merges a row's chunk partials in ascending order and normalises; a partial with sum 0 changes
// nothing. Padding rows give zeros. One item per row.
struct AttentionMergeArgs {
  std::uint32_t rows = 0;
  std::uint32_t chunks = 0;
  std::uint32_t query_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t chunk_tokens = 0;
  std::uint32_t output_stride = 0;        // floats between rows of output
  const std::uint32_t* length = nullptr;  // [rows]
  const float* partial = nullptr;         // as above
  float* output = nullptr;                // [rows, query_heads, head_dim]
};

}  // namespace kvrm
