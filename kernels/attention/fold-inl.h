// One tile folded into the running softmax for each SIMD target: scores (score-inl.h), softmax
// update, weighted values (values-inl.h). It knows no addressing and no batch.
#if defined(KVRM_KERNELS_ATTENTION_FOLD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVRM_KERNELS_ATTENTION_FOLD_INL_H_
#undef KVRM_KERNELS_ATTENTION_FOLD_INL_H_
#else
#define KVRM_KERNELS_ATTENTION_FOLD_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/attention/fold.h"
#include "kernels/attention/score-inl.h"
#include "kernels/attention/tile_walk.h"
#include "kernels/attention/values-inl.h"
#include "kernels/simd/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

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
  float factor = 1;  // exp(0) is exactly 1
  if (const float merged = hn::GetLane(highest); merged != maximum) {
    factor = hn::GetLane(fast_exp(d, hn::Sub(hn::Set(d, maximum), highest)));
    maximum = merged;
  }
  for (std::size_t lane = 0; lane < kLaneTokens; lane += kLanes) {
    auto lane_sum = hn::Mul(hn::Load(d, sum + lane), hn::Set(d, factor));
    for (std::size_t i = lane; i < last; i += kLaneTokens) {
      const auto weight = fast_exp(d, hn::Sub(hn::Load(d, logits + i), highest));
      hn::Store(weight, d, logits + i);
      lane_sum = hn::Add(lane_sum, weight);
    }
    hn::Store(lane_sum, d, sum + lane);
  }
  return factor;
}

// How logits are made: here, or by another source for the same target.
struct ScoreHere {
  template <std::size_t Group, std::size_t Heads, class T>
  static HWY_INLINE void score(const TileView& tile, std::size_t positions, const TileView* next,
                               const float* query, std::size_t head_dim, float* logits) {
    score_tile<Group, Heads, T>(tile, positions, next, query, head_dim, logits);
  }
};

// Folds one tile into Heads query heads, the first of which is `query_head`.
template <std::size_t Group, std::size_t Heads, class T, class Score>
void fold_heads(const FoldShape& shape, const TileView& tile, std::size_t positions,
                const TileView* next, std::size_t query_head, const FoldState& state) {
  alignas(64) float logits[Heads * kMaxTileTokens];
  float factors[Heads];
  const float* query = shape.query + query_head * shape.head_dim;
  Score::template score<Group, Heads, T>(tile, positions, next, query, shape.head_dim, logits);
  if (tile.bias_first < tile.bias_last) {
    for (std::size_t h = 0; h < Heads; ++h) add_bias(tile, logits + h * kMaxTileTokens);
  }
  for (std::size_t h = 0; h < Heads; ++h) {
    factors[h] = soften(logits + h * kMaxTileTokens, positions, state.maximum[query_head + h],
                        state.sum + (query_head + h) * kLaneTokens);
  }
  add_all_values<Group, Heads, T>(tile, positions, next, shape.head_dim, logits, factors,
                                  state.accumulator + query_head * state.accumulator_stride,
                                  state.accumulator_stride);
}

// Folds one tile into all query heads of its kv head: four at a time share each load. A TileFold.
template <std::size_t Group, class T, class Score = ScoreHere>
void fold_tile(const FoldShape& shape, const TileView& tile, std::uint32_t positions,
               const TileView* next, const FoldState& state) {
  std::size_t head = tile.kv_head * shape.queries_per_kv_head;
  const std::size_t last = head + shape.queries_per_kv_head;
  for (; head + 4 <= last; head += 4, next = nullptr) {
    fold_heads<Group, 4, T, Score>(shape, tile, positions, next, head, state);
  }
  for (; head + 2 <= last; head += 2, next = nullptr) {
    fold_heads<Group, 2, T, Score>(shape, tile, positions, next, head, state);
  }
  if (head < last) fold_heads<Group, 1, T, Score>(shape, tile, positions, next, head, state);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();

#endif  // include guard for each target
