#include "kernels/attention/score_bf16.h"

#include <hwy/base.h>
#include <immintrin.h>

#include <array>
#include <cstring>

#include "harness/base/half.h"
#include "kernels/attention/prefetch.h"

namespace kvrm::avx512_bf16 {

void split_queries(float* query, std::size_t count) {
  for (std::size_t i = 0; i < count; i += 2) {
    std::array<std::uint16_t, 4> parts{};
    for (std::size_t k = 0; k < 2; ++k) {
      parts[k] = float_to_bf16(query[i + k]);
      parts[2 + k] = float_to_bf16(query[i + k] - bf16_to_float(parts[k]));
    }
    std::memcpy(query + i, parts.data(), sizeof(parts));
  }
}

}  // namespace kvrm::avx512_bf16

HWY_PUSH_ATTRIBUTES("avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")
namespace kvrm::avx512_bf16 {
namespace {

// Pairs of dimensions dim and dim + 1 of 16 tokens, which are one group or two of 8.
template <std::size_t Group>
HWY_INLINE __m512bh load_key_pairs(const std::byte* low, const std::byte* high, std::size_t dim) {
  if constexpr (Group == kLaneTokens) return (__m512bh)_mm512_loadu_si512(low + dim * Group * 2);
  const __m512i lower = _mm512_maskz_loadu_epi64(0x0f, low + dim * Group * 2);
  const __m256i upper =
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high + dim * Group * 2));
  return (__m512bh)_mm512_mask_broadcast_i64x4(lower, 0xf0, upper);
}

HWY_INLINE __m512bh broadcast_pair(const float* pair) { return (__m512bh)_mm512_set1_ps(*pair); }

}  // namespace

template <std::size_t Group, std::size_t Heads>
void score_tile(const TileView& tile, std::size_t positions, const TileView* next,
                const float* query, std::size_t head_dim, float* logits) {
  constexpr std::size_t kPairBytes = 4 * Group;
  constexpr std::size_t kHigh = kLaneTokens / Group - 1;
  for (std::size_t unit = 0; unit < positions; unit += kLaneTokens) {
    const std::size_t group = unit / Group;
    const std::byte* low = tile.keys[group];
    const std::byte* high = tile.keys[group + kHigh];
    __m512 upper_parts[Heads];
    __m512 lower_parts[Heads];
    for (std::size_t h = 0; h < Heads; ++h) {
      upper_parts[h] = lower_parts[h] = _mm512_setzero_ps();
    }
    for (std::size_t dim = 0; dim < head_dim; dim += 2) {
      const __m512bh keys = load_key_pairs<Group>(low, high, dim);
      if (next != nullptr) {
        prefetch_near<kPairBytes>(low + dim * Group * 2);
        prefetch_ahead<kPairBytes>(next->keys[group] + dim * Group * 2);
        if constexpr (kHigh != 0) {
          prefetch_ahead<kPairBytes>(next->keys[group + kHigh] + dim * Group * 2);
        }
      }
      for (std::size_t h = 0; h < Heads; ++h) {
        const float* pairs = query + h * head_dim + dim;
        upper_parts[h] = _mm512_dpbf16_ps(upper_parts[h], keys, broadcast_pair(pairs));
        lower_parts[h] = _mm512_dpbf16_ps(lower_parts[h], keys, broadcast_pair(pairs + 1));
      }
    }
    for (std::size_t h = 0; h < Heads; ++h) {
      _mm512_storeu_ps(logits + h * kMaxTileTokens + unit,
                       _mm512_add_ps(upper_parts[h], lower_parts[h]));
    }
  }
}

#define KVRM_SCORE_TILE(group, heads)                                                   \
  template void score_tile<group, heads>(const TileView&, std::size_t, const TileView*, \
                                         const float*, std::size_t, float*);
KVRM_SCORE_TILE(kLaneTokens, 4)
KVRM_SCORE_TILE(kLaneTokens, 2)
KVRM_SCORE_TILE(kLaneTokens, 1)
KVRM_SCORE_TILE(kSmallBlockTokens, 4)
KVRM_SCORE_TILE(kSmallBlockTokens, 2)
KVRM_SCORE_TILE(kSmallBlockTokens, 1)
#undef KVRM_SCORE_TILE

}  // namespace kvrm::avx512_bf16
HWY_POP_ATTRIBUTES
