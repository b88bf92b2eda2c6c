// Logits of bf16 keys by the CPU's own bf16 dot products, which Debian's Highway does not have. For
// CPUs with AVX-512 and its BF16 extension (cpu_runs_avx512_bf16()); nothing else may call this.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/tile_walk.h"

namespace kvrm::avx512_bf16 {

// A query as two bf16 parts, since one alone would lose what the tolerances of attention promise:
// each pair of dimensions becomes the pair of upper parts and the pair of what is left, in place.
// Together they hold 16 bits of each value. count is even.
void split_queries(float* query, std::size_t count);

// As score_tile() of score-inl.h, for Heads (4, 2 or 1) query heads split by split_queries().
template <std::size_t Group, std::size_t Heads>
void score_tile(const TileView& tile, std::size_t positions, const TileView* next,
                const float* query, std::size_t head_dim, float* logits);

}  // namespace kvrm::avx512_bf16
