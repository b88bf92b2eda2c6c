#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_simd.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "harness/base/units.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_item.h"
#include "kernels/attention/attention_kernels.h"
#include "kernels/attention/fold-inl.h"
#include "kernels/attention/merge-inl.h"
#include "kernels/attention/score_bf16.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace {

template <class T, class Score = ScoreHere>
constexpr TypeFolds folds_of() {
  return {.small_groups = fold_tile<kSmallBlockTokens, T, Score>,
          .groups = fold_tile<kLaneTokens, T, Score>,
          .merge = merge_partial,
          .store = store_partial<T>};
}

constexpr TileFolds kFolds = {folds_of<float>(), folds_of<hwy::float16_t>(),
                              folds_of<hwy::bfloat16_t>()};

void attention(const void* args, std::uint32_t item, WorkerContext& worker) {
  fold_item(*static_cast<const AttentionArgs*>(args), item, worker, kFolds);
}

// One head of a row: partials [partials], the later ones chunk_stride floats apart, into output
// [head_dim].
struct HeadPartials {
  const float* first = nullptr;  // of all merged chunks
  std::uint32_t merged = 0;      // how many they are
  std::uint32_t chunks = 0;
  std::size_t chunk_stride = 0;
};

void merge_head(const HeadPartials& partials, std::uint32_t head_dim, float* merged,
                float* output) {
  std::fill_n(merged, head_dim, 0.0F);
  merged[head_dim] = -std::numeric_limits<float>::infinity();
  merged[head_dim + 1] = 0;
  merge_partial(merged, partials.first, head_dim);
  for (std::size_t chunk = partials.merged; chunk < partials.chunks; ++chunk) {
    merge_partial(merged, partials.first + chunk * partials.chunk_stride, head_dim);
  }
  for (std::uint32_t dim = 0; dim < head_dim; ++dim)
    output[dim] = merged[dim] / merged[head_dim + 1];
}

void merge(const void* raw_args, std::uint32_t row, WorkerContext& worker) {
  const auto& args = *static_cast<const AttentionMergeArgs*>(raw_args);
  const std::size_t stride = partial_stride(args.head_dim);
  float* output = args.output + std::size_t{row} * args.output_stride;
  if (args.length[row] == 0) {
    std::fill_n(output, std::size_t{args.query_heads} * args.head_dim, 0.0F);
    return;
  }
  HeadPartials partials;
  partials.chunk_stride = stride * args.query_heads;
  partials.first = args.partial + std::size_t{row} * args.chunks * partials.chunk_stride;
  partials.merged = merged_chunks(args, args.chunk_tokens);
  partials.chunks = static_cast<std::uint32_t>(divide_up(args.length[row], args.chunk_tokens));
  auto* merged = reinterpret_cast<float*>(worker.scratch.data());
  for (std::uint32_t head = 0; head < args.query_heads; ++head, partials.first += stride) {
    merge_head(partials, args.head_dim, merged, output + std::size_t{head} * args.head_dim);
  }
}

#if HWY_TARGET == HWY_AVX3
constexpr AttentionKernels kKernels = {{"attention/avx512", attention},
                                       {"attention_merge/avx512", merge}};

struct ScoreBf16 {
  template <std::size_t Group, std::size_t Heads, class T>
  static void score(const TileView& tile, std::size_t positions, const TileView* next,
                    const float* query, std::size_t head_dim, float* logits) {
    avx512_bf16::score_tile<Group, Heads>(tile, positions, next, query, head_dim, logits);
  }
};

constexpr TypeFolds bf16_folds() {
  TypeFolds folds = folds_of<hwy::bfloat16_t, ScoreBf16>();
  folds.prepare_queries = avx512_bf16::split_queries;
  return folds;
}

constexpr TileFolds kBf16Folds = {folds_of<float>(), folds_of<hwy::float16_t>(), bf16_folds()};

void attention_bf16(const void* args, std::uint32_t item, WorkerContext& worker) {
  fold_item(*static_cast<const AttentionArgs*>(args), item, worker, kBf16Folds);
}

constexpr AttentionKernels kBf16Kernels = {{"attention/avx512_bf16", attention_bf16},
                                           {"attention_merge/avx512", merge}};
#elif HWY_TARGET == HWY_AVX2
constexpr AttentionKernels kKernels = {{"attention/avx2", attention},
                                       {"attention_merge/avx2", merge}};
#else
constexpr AttentionKernels kKernels = {{"attention/sse4", attention},
                                       {"attention_merge/sse4", merge}};
#endif

}  // namespace

const AttentionKernels& attention_kernels() { return kKernels; }
#if HWY_TARGET == HWY_AVX3
const AttentionKernels& attention_bf16_kernels() { return kBf16Kernels; }
#endif

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();
