// Weighted values of one tile for each SIMD target: each dimension's sum runs over the tokens in
// ascending order, whatever the lane count.
#if defined(KVRM_KERNELS_ATTENTION_VALUES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVRM_KERNELS_ATTENTION_VALUES_INL_H_
#undef KVRM_KERNELS_ATTENTION_VALUES_INL_H_
#else
#define KVRM_KERNELS_ATTENTION_VALUES_INL_H_
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

// Accumulators of four heads that fit the registers, beside what they are made from.
constexpr std::size_t kDimVectors = HWY_CAP_GE512 ? 4 : 2;

// Vectors values from `values` on. bf16 comes in pairs of vectors, even dimensions and then odd
// ones, which takes fewer instructions than widening in order; accumulators then lie so too
// (store_partial()).
template <std::size_t Vectors, class T, class D>
HWY_INLINE void load_values(D d, const T* values, hn::Vec<D>* loaded) {
  if constexpr (std::is_same_v<T, hwy::bfloat16_t> && Vectors % 2 == 0) {
    const hn::RebindToUnsigned<D> du;
    HWY_UNROLL(4)
    for (std::size_t v = 0; v < Vectors; v += 2) {
      const auto* pairs = reinterpret_cast<const std::uint32_t*>(values + v * hn::MaxLanes(d));
      widen_pairs(d, hn::LoadU(du, pairs), loaded[v], loaded[v + 1]);
    }
  } else {
    HWY_UNROLL(4)
    for (std::size_t v = 0; v < Vectors; ++v) {
      loaded[v] = load_floats(d, values + v * hn::MaxLanes(d));
    }
  }
}

// One head's partial with its accumulators in the order of dimensions: of bf16 add_all_values()
// keeps whole pairs of vectors apart.
template <class T>
void store_partial(const float* partial, std::size_t head_dim, float* stored) {
  const hn::CappedTag<float, kLaneTokens> d;
  constexpr std::size_t kStep = hn::MaxLanes(d);
  std::size_t dim = 0;
  if constexpr (std::is_same_v<T, hwy::bfloat16_t>) {
    for (; dim + 2 * kStep <= head_dim; dim += 2 * kStep) {
      const auto even = hn::LoadU(d, partial + dim);
      const auto odd = hn::LoadU(d, partial + dim + kStep);
      hn::StoreInterleaved2(even, odd, d, stored + dim);
    }
  }
  std::copy(partial + dim, partial + head_dim + 2, stored + dim);
}

// Adds the weighted values of a tile to dimensions [dim, dim + Vectors * lanes) of Heads heads.
// Masked positions are not read: 0 times NaN is NaN.
template <std::size_t Group, std::size_t Heads, std::size_t Vectors, class T, class D>
HWY_INLINE void add_values(D d, const TileView& tile, std::size_t positions, const TileView* next,
                           std::size_t dim, std::size_t head_dim, const float* weights,
                           const float* factors, float* accumulator,
                           std::size_t accumulator_stride) {
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
  for (std::size_t token = 0; token < positions; ++token) {
    const std::size_t first = (token % Group) * head_dim + dim;
    const T* values = reinterpret_cast<const T*>(tile.values[token / Group]) + first;
    if (next != nullptr) {
      constexpr std::size_t kBytes = Vectors * kStep * sizeof(T);
      prefetch_near<kBytes>(reinterpret_cast<const std::byte*>(values));
      prefetch_ahead<kBytes>(next->values[token / Group] + first * sizeof(T));
    }
    hn::Vec<D> value[Vectors];
    load_values<Vectors>(d, values, value);
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

// All dimensions: as many wide passes as fit, then pairs of vectors, single vectors, a last half
// vector.
template <std::size_t Group, std::size_t Heads, class T>
HWY_INLINE void add_all_values(const TileView& tile, std::size_t positions, const TileView* next,
                               std::size_t head_dim, const float* weights, const float* factors,
                               float* accumulator, std::size_t accumulator_stride) {
  const hn::CappedTag<float, kLaneTokens> d;
  constexpr std::size_t kStep = hn::MaxLanes(d);
  std::size_t dim = 0;
  const auto pass = [&]<std::size_t Vectors>(auto tag) HWY_ATTR {
    constexpr std::size_t kDims = Vectors * hn::MaxLanes(tag);
    for (; dim + kDims <= head_dim; dim += kDims) {
      add_values<Group, Heads, Vectors, T>(tag, tile, positions, next, dim, head_dim, weights,
                                           factors, accumulator, accumulator_stride);
    }
  };
  pass.template operator()<kDimVectors>(d);
  if constexpr (kDimVectors > 2) pass.template operator()<2>(d);
  pass.template operator()<1>(d);
  if constexpr (kStep > 8) pass.template operator()<1>(hn::CappedTag<float, 8>());
}

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();

#endif  // include guard for each target
