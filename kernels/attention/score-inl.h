// Logits of one tile for each SIMD target, from keys as they lie in memory. Every number is
// computed lane by lane in an order that does not depend on the lane count, so targets with a fused
// multiply-add agree.
#if defined(KVRM_KERNELS_ATTENTION_SCORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVRM_KERNELS_ATTENTION_SCORE_INL_H_
#undef KVRM_KERNELS_ATTENTION_SCORE_INL_H_
#else
#define KVRM_KERNELS_ATTENTION_SCORE_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/attention/prefetch.h"
#include "kernels/attention/tile_walk.h"
#include "kernels/simd/convert-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using LaneTag = hn::CappedTag<float, kLaneTokens>;  // tokens, or dimensions
constexpr std::size_t kLanes = HWY_LANES(float) < kLaneTokens ? HWY_LANES(float) : kLaneTokens;

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
    widen_pairs(LaneTag(), load_lanes<Group, std::uint32_t>(keys, dim * (Group / 2)), even, odd);
  } else {
    even = to_floats(LaneTag(), load_lanes<Group, T>(keys, dim * Group));
    odd = to_floats(LaneTag(), load_lanes<Group, T>(keys, (dim + 1) * Group));
  }
}

// Logits of one vector of tokens for Heads query heads, into logits[head][...]. Two sums, over even
// and odd dimensions, keep enough multiply-adds in flight. For each line consumed one of `ahead` is
// prefetched, and one near the line itself.
template <std::size_t Group, std::size_t Heads, bool Prefetch, class T>
HWY_INLINE void score_lanes(const KeyPlace& keys, const float* query, std::size_t head_dim,
                            const KeyPlace& ahead, float* logits) {
  constexpr std::size_t kPairBytes = 2 * Group * sizeof(T);
  const LaneTag d;
  hn::Vec<LaneTag> even[Heads];
  hn::Vec<LaneTag> odd[Heads];
  HWY_UNROLL(4)
  for (std::size_t h = 0; h < Heads; ++h) even[h] = odd[h] = hn::Zero(d);
  for (std::size_t dim = 0; dim < head_dim; dim += 2) {
    hn::Vec<LaneTag> even_key;
    hn::Vec<LaneTag> odd_key;
    load_key_pair<Group, T>(keys, dim, even_key, odd_key);
    if constexpr (Prefetch) {
      const std::size_t offset = dim / 2 * kPairBytes;
      prefetch_near<kPairBytes>(keys.low + offset);
      prefetch_ahead<kPairBytes>(ahead.low + offset);
      if constexpr (kLanes > Group) prefetch_ahead<kPairBytes>(ahead.high + offset);
    }
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

// Logits of a tile's first positions, in whole vectors and groups; those past the last position
// mean nothing.
template <std::size_t Group, std::size_t Heads, class T>
HWY_INLINE void score_tile(const TileView& tile, std::size_t positions, const TileView* next,
                           const float* query, std::size_t head_dim, float* logits) {
  constexpr std::size_t kUnit = std::max(Group, kLanes);
  constexpr std::size_t kElementBytes = sizeof(T) * (std::is_same_v<T, hwy::bfloat16_t> ? 2 : 1);
  constexpr std::size_t kHigh = kLanes / Group > 1 ? 1 : 0;
  for (std::size_t unit = 0; unit < positions; unit += kUnit) {
    const std::size_t group = unit / Group;
    for (std::size_t lane = 0; lane < kUnit; lane += kLanes) {
      const KeyPlace keys{tile.keys[group] + lane * kElementBytes, tile.keys[group + kHigh]};
      if (next != nullptr && lane == 0) {
        const KeyPlace ahead{next->keys[group], next->keys[group + kHigh]};
        score_lanes<Group, Heads, true, T>(keys, query, head_dim, ahead, logits + unit);
      } else {
        score_lanes<Group, Heads, false, T>(keys, query, head_dim, {}, logits + unit + lane);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();

#endif  // include guard for each target
