// What the walk over an item (attention_item.h) and the arithmetic of a target give each other.
// Every target fills one TileFolds; the walk knows no lanes, the arithmetic knows no addressing and
// no batch.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/attention/tile_walk.h"
#include "kernels/page/kv_layout.h"

namespace kvrm {

// The running softmax of all query heads over the positions of a chunk folded so far.
struct FoldState {
  // [query_heads, accumulator_stride]; head_dim used, in the target's own order
  float* accumulator = nullptr;
  std::size_t accumulator_stride = 0;  // floats
  float* maximum = nullptr;            // [query_heads]
  float* sum = nullptr;                // [query_heads, 16] by position modulo 16
};

// What does not change over an item.
struct FoldShape {
  const float* query = nullptr;  // [query_heads, head_dim], scaled and prepared
  std::size_t head_dim = 0;
  std::size_t queries_per_kv_head = 0;
};

// Folds the first `positions` of a tile, at least 1, into all query heads of its kv head, and
// prefetches `next` where it is not null.
using TileFold = void (*)(const FoldShape& shape, const TileView& tile, std::uint32_t positions,
                          const TileView* next, const FoldState& state);

// Merges a head's partial into that of the chunks before it, both in the target's own order.
using PartialMerge = void (*)(float* merged, const float* partial, std::size_t head_dim);

// How a target folds one KV type.
struct TypeFolds {
  // Brings an item's scaled queries, [count] floats, into the form that the folds want; null: as
  // they are.
  void (*prepare_queries)(float* query, std::size_t count) = nullptr;
  TileFold small_groups = nullptr;  // keys in groups of kSmallBlockTokens
  TileFold groups = nullptr;        // keys in groups of kLaneTokens
  PartialMerge merge = nullptr;
  // Copies one head's partial, its accumulators into the order of dimensions.
  void (*store)(const float* partial, std::size_t head_dim, float* stored) = nullptr;
};

using TileFolds = std::array<TypeFolds, 3>;  // by DType

}  // namespace kvrm
