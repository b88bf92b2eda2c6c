// The arithmetic of one tile for each SIMD target: scores, softmax update, weighted values. Every
// number is computed lane by lane in an order that does not depend on the lane count, so targets
// with a fused multiply-add agree. It knows no addressing and no batch.
#if defined(KVRM_KERNELS_ATTENTION_FOLD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVRM_KERNELS_ATTENTION_FOLD_INL_H_
#undef KVRM_KERNELS_ATTENTION_FOLD_INL_H_
#else
#define KVRM_KERNELS_ATTENTION_FOLD_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/attention/tile_walk.h"
#include "kernels/simd/convert-inl.h"
#include "kernels/simd/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using LaneTag = hn::CappedTag<float, kLaneTokens>;  // tokens, or dimensions
constexpr std::size_t kLanes = HWY_LANES(float) < kLaneTokens ? HWY_LANES(float) : kLaneTokens;
constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kDimVectors = HWY_CAP_GE512 ? 4 : 2;  // accumulators fit the registers

// The running softmax of all query heads over the positions folded so far.
struct FoldState {
  float* accumulator = nullptr;        // [query_heads, accumulator_stride]; head_dim used
  std::size_t accumulator_stride = 0;  // floats
  float* maximum = nullptr;            // [query_heads]
  float* sum = nullptr;                // [query_heads, 16] by position modulo 16
};

// What does not change over an item. Queries are already scaled.
struct FoldShape {
  const float* query = nullptr;  // [query_heads, head_dim]
  std::size_t head_dim = 0;
  std::size_t queries_per_kv_head = 0;
};

// Must be inlined: g++ takes a function that only prefetches for one without effects and drops its
// calls.
template <std::size_t Bytes>
HWY_INLINE void prefetch_bytes(const std::byte* first) {
  for (std::size_t line = 0; line < Bytes; line += kCacheLine) hwy::Prefetch(first + line);
}

// Where the keys of one vector of tokens lie, `low` at its first token. Where a vector is wider
// than a transposed group, its upper half starts the group at `high`, which is not used otherwise.
struct KeyPlace {
  const std::byte* low = nullptr;
  const std::byte* high = nullptr;
};

// One vector of elements, `offset` elements into a group.
template <std::size_t Group, class E>
HWY_INLINE auto load_lanes(const KeyPlace& keys, std::size_t offset) {
  const hn::Rebind<E, LaneTag> d;
  const E* low = reinterpret_cast<const E*>(keys.low) + offset;
#if HWY_TARGET != HWY_SCALAR  // one lane has no halves
  if constexpr (kLanes > Group) {
    const hn::Half<decltype(d)> half;
    const E* high = reinterpret_cast<const E*>(keys.high) + offset;
    return hn::Combine(d, hn::LoadU(half, high), hn::LoadU(half, low));
  }
#endif
  return hn::LoadU(d, low);
}

// Keys of dimensions dim and dim + 1 of one vector of tokens.
template <std::size_t Group, class T>
HWY_INLINE void load_key_pair(const KeyPlace& keys, std::size_t dim, hn::Vec<LaneTag>& even,
                              hn::Vec<LaneTag>& odd) {
  if constexpr (std::is_same_v<T, hwy::bfloat16_t>) {
    const hn::RebindToUnsigned<LaneTag> du;
    const auto pair = load_lanes<Group, std::uint32_t>(keys, dim * (Group / 2));
    even = hn::BitCast(LaneTag(), hn::ShiftLeft<16>(pair));
    odd = hn::BitCast(LaneTag(), hn::And(pair, hn::Set(du, 0xffff0000U)));
  } else {
    even = to_floats(LaneTag(), load_lanes<Group, T>(keys, dim * Group));
    odd = to_floats(LaneTag(), load_lanes<Group, T>(keys, (dim + 1) * Group));
  }
}

// Prefetches dimensions dim and dim + 1 of every group that the vectors at `next` touch.
template <std::size_t Group, class T>
HWY_INLINE void prefetch_key_pair(const KeyPlace& next, std::size_t dim) {
  prefetch_bytes<2 * Group * sizeof(T)>(next.low + dim * Group * sizeof(T));
  if constexpr (kLanes > Group) {
    prefetch_bytes<2 * Group * sizeof(T)>(next.high + dim * Group * sizeof(T));
  }
}

// Logits of one vector of tokens for Heads query heads, into logits[head][...]. Two sums, over even
// and odd dimensions, keep enough multiply-adds in flight. `next`: a line of it is prefetched for
// each line consumed; null where another pass does so.
template <std::size_t Group, std::size_t Heads, class T>
HWY_INLINE void score_lanes(const KeyPlace& keys, const float* query, std::size_t head_dim,
                            const KeyPlace& next, float* logits) {
  const LaneTag d;
  hn::Vec<LaneTag> even[Heads];
  hn::Vec<LaneTag> odd[Heads];
  HWY_UNROLL(4)
  for (std::size_t h = 0; h < Heads; ++h) even[h] = odd[h] = hn::Zero(d);
  for (std::size_t dim = 0; dim < head_dim; dim += 2) {
    hn::Vec<LaneTag> even_key;
    hn::Vec<LaneTag> odd_key;
    load_key_pair<Group, T>(keys, dim, even_key, odd_key);
    if (next.low != nullptr) prefetch_key_pair<Group, T>(next, dim);
    HWY_UNROLL(4)
    for (std::size_t h = 0; h < Heads; ++h) {
      const float* q = query + h * head_dim + dim;
      even[h] = hn::MulAdd(even_key, hn::Set(d, q[0]), even[h]);
      odd[h] = hn::MulAdd(odd_key, hn::Set(d, q[1]), odd[h]);
    }
  }
  HWY_UNROLL(4)
  for (std::size_t h = 0; h < Heads; ++h) {
    hn::StoreU(hn::Add(even[h], odd[h]), d, logits + h * kMaxTileTokens);
  }
}

// Logits of a tile's positions, in whole vectors and groups; those past the last position mean
// nothing.
template <std::size_t Group, std::size_t Heads, class T>
HWY_INLINE void score_tile(const TileView& tile, const TileView* next, const float* query,
                           std::size_t head_dim, float* logits) {
  constexpr std::size_t kUnit = std::max(Group, kLanes);
  constexpr std::size_t kElementBytes = sizeof(T) * (std::is_same_v<T, hwy::bfloat16_t> ? 2 : 1);
  constexpr std::size_t kHigh = kLanes / Group > 1 ? 1 : 0;
  for (std::size_t unit = 0; unit < tile.positions; unit += kUnit) {
    const std::size_t group = unit / Group;
    for (std::size_t lane = 0; lane < kUnit; lane += kLanes) {
      const KeyPlace keys{tile.keys[group] + lane * kElementBytes, tile.keys[group + kHigh]};
      KeyPlace ahead;
      if (next != nullptr && lane == 0) ahead = {next->keys[group], next->keys[group + kHigh]};
      score_lanes<Group, Heads, T>(keys, query, head_dim, ahead, logits + unit + lane);
    }
  }
}

// Adds the far entries' biases to the logits of one head.
HWY_INLINE void add_bias(const TileView& tile, float* logits) {
  const LaneTag d;
  const float* bias = tile.bias - tile.bias_first;
  std::size_t i = tile.bias_first;
  for (; i + kLanes <= tile.bias_last; i += kLanes) {
    hn::StoreU(hn::Add(hn::LoadU(d, logits + i), hn::LoadU(d, bias + i)), d, logits + i);
  }
  for (; i < tile.bias_last; ++i) logits[i] += bias[i];
}

// Turns the logits of one head into weights exp(logit - maximum), exactly 0 where masked, and
// returns the factor by which everything folded before shrinks.
HWY_INLINE float soften(float* logits, std::size_t positions, float& maximum, float* sum) {
  const LaneTag d;
  const std::size_t last = (positions + kLaneTokens - 1) / kLaneTokens * kLaneTokens;
  for (std::size_t i = positions; i < last; ++i) {
    logits[i] = -std::numeric_limits<float>::infinity();
  }
  auto highest = hn::Set(d, maximum);
  for (std::size_t i = 0; i < last; i += kLanes)
    highest = hn::Max(highest, hn::Load(d, logits + i));
  highest = hn::MaxOfLanes(d, highest);
  const auto factor = fast_exp(d, hn::Sub(hn::Set(d, maximum), highest));
  maximum = hn::GetLane(highest);
  for (std::size_t lane = 0; lane < kLaneTokens; lane += kLanes) {
    auto lane_sum = hn::Mul(hn::Load(d, sum + lane), factor);
    for (std::size_t i = lane; i < last; i += kLaneTokens) {
      const auto weight = fast_exp(d, hn::Sub(hn::Load(d, logits + i), highest));
      hn::Store(weight, d, logits + i);
      lane_sum = hn::Add(lane_sum, weight);
    }
    hn::Store(lane_sum, d, sum + lane);
  }
  return hn::GetLane(factor);
}

// Adds the weighted values of a tile to dimensions [dim, dim + Vectors * lanes) of Heads heads.
// Masked positions are not read: 0 times NaN is NaN.
template <std::size_t Group, std::size_t Heads, std::size_t Vectors, class T, class D>
HWY_INLINE void add_values(D d, const TileView& tile, const TileView* next, std::size_t dim,
                           std::size_t head_dim, const float* weights, const float* factors,
                           float* accumulator, std::size_t accumulator_stride) {
  constexpr std::size_t kStep = hn::MaxLanes(D());
  hn::Vec<D> sums[Heads][Vectors];
  HWY_UNROLL(4)
  for (std::size_t h = 0; h < Heads; ++h) {
    HWY_UNROLL(4)
    for (std::size_t v = 0; v < Vectors; ++v) {
      const float* place = accumulator + h * accumulator_stride + dim + v * kStep;
      sums[h][v] = hn::Mul(hn::LoadU(d, place), hn::Set(d, factors[h]));
    }
  }
  for (std::size_t token = 0; token < tile.positions; ++token) {
    const std::size_t first = (token % Group) * head_dim + dim;
    const T* values = reinterpret_cast<const T*>(tile.values[token / Group]) + first;
    if (next != nullptr) {
      prefetch_bytes<Vectors * kStep * sizeof(T)>(next->values[token / Group] + first * sizeof(T));
    }
    hn::Vec<D> value[Vectors];
    HWY_UNROLL(4)
    for (std::size_t v = 0; v < Vectors; ++v) value[v] = load_floats(d, values + v * kStep);
    HWY_UNROLL(4)
    for (std::size_t h = 0; h < Heads; ++h) {
      const auto weight = hn::Set(d, weights[h * kMaxTileTokens + token]);
      HWY_UNROLL(4)
      for (std::size_t v = 0; v < Vectors; ++v) {
        sums[h][v] = hn::MulAdd(value[v], weight, sums[h][v]);
      }
    }
  }
  HWY_UNROLL(4)
  for (std::size_t h = 0; h < Heads; ++h) {
    HWY_UNROLL(4)
    for (std::size_t v = 0; v < Vectors; ++v) {
      hn::StoreU(sums[h][v], d, accumulator + h * accumulator_stride + dim + v * kStep);
    }
  }
}

// All dimensions: as many wide passes as fit, then single vectors, then a last half vector.
template <std::size_t Group, std::size_t Heads, class T>
HWY_INLINE void add_all_values(const TileView& tile, const TileView* next, std::size_t head_dim,
                               const float* weights, const float* factors, float* accumulator,
                               std::size_t accumulator_stride) {
  const LaneTag d;
  std::size_t dim = 0;
  for (; dim + kDimVectors * kLanes <= head_dim; dim += kDimVectors * kLanes) {
    add_values<Group, Heads, kDimVectors, T>(d, tile, next, dim, head_dim, weights, factors,
                                             accumulator, accumulator_stride);
  }
  for (; dim + kLanes <= head_dim; dim += kLanes) {
    add_values<Group, Heads, 1, T>(d, tile, next, dim, head_dim, weights, factors, accumulator,
                                   accumulator_stride);
  }
  if (dim < head_dim) {
    const hn::CappedTag<float, 8> half;
    add_values<Group, Heads, 1, T>(half, tile, next, dim, head_dim, weights, factors, accumulator,
                                   accumulator_stride);
  }
}

// Folds one tile into Heads query heads, the first of which is `query_head`.
template <std::size_t Group, std::size_t Heads, class T>
void fold_heads(const FoldShape& shape, const TileView& tile, const TileView* next,
                std::size_t query_head, const FoldState& state) {
  alignas(64) float logits[Heads * kMaxTileTokens];
  float factors[Heads];
  const float* query = shape.query + query_head * shape.head_dim;
  score_tile<Group, Heads, T>(tile, next, query, shape.head_dim, logits);
  if (tile.bias_first < tile.bias_last) {
    for (std::size_t h = 0; h < Heads; ++h) add_bias(tile, logits + h * kMaxTileTokens);
  }
  for (std::size_t h = 0; h < Heads; ++h) {
    factors[h] = soften(logits + h * kMaxTileTokens, tile.positions, state.maximum[query_head + h],
                        state.sum + (query_head + h) * kLaneTokens);
  }
  add_all_values<Group, Heads, T>(tile, next, shape.head_dim, logits, factors,
                                  state.accumulator + query_head * state.accumulator_stride,
                                  state.accumulator_stride);
}

// Folds one tile into all query heads of its kv head: four at a time share each load. `next` is
// prefetched.
template <std::size_t Group, class T>
void fold_tile(const FoldShape& shape, const TileView& tile, const TileView& next,
               const FoldState& state) {
  std::size_t head = tile.kv_head * shape.queries_per_kv_head;
  const std::size_t last = head + shape.queries_per_kv_head;
  const TileView* prefetched = &next;
  for (; head + 4 <= last; head += 4, prefetched = nullptr) {
    fold_heads<Group, 4, T>(shape, tile, prefetched, head, state);
  }
  for (; head + 2 <= last; head += 2, prefetched = nullptr) {
    fold_heads<Group, 2, T>(shape, tile, prefetched, head, state);
  }
  if (head < last) fold_heads<Group, 1, T>(shape, tile, prefetched, head, state);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();

#endif  // include guard for each target
