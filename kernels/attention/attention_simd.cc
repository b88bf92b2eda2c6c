#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_simd.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <limits>
#include <span>

#include "harness/base/check.h"
#include "harness/base/units.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_kernels.h"
#include "kernels/attention/block_cursor.h"
#include "kernels/attention/fold-inl.h"
#include "kernels/attention/row_positions.h"
#include "kernels/attention/tile_walk.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace {

// How many tiles ahead of the fold memory is prefetched.
constexpr std::uint32_t kPrefetchTiles = 1;
constexpr std::uint32_t kPrefetchTilesInRun = 2;

// Hands out parts of a worker's scratch.
class Scratch {
 public:
  explicit Scratch(std::span<std::byte> bytes) : bytes_(bytes) {}
  float* floats(std::size_t count) {
    const std::size_t first = used_;
    used_ += round_up(count * sizeof(float), kCacheLine);
    KVRM_CHECK_LE(used_, bytes_.size());
    return reinterpret_cast<float*>(bytes_.data() + first);
  }

 private:
  std::span<std::byte> bytes_;
  std::size_t used_ = 0;
};

FoldState start_fold(const AttentionArgs& args, Scratch& scratch, float* accumulator,
                     std::size_t accumulator_stride) {
  FoldState state{accumulator, accumulator_stride, scratch.floats(args.query_heads),
                  scratch.floats(std::size_t{args.query_heads} * kLaneTokens)};
  std::fill_n(state.accumulator, args.query_heads * accumulator_stride, 0.0F);
  std::fill_n(state.maximum, args.query_heads, -std::numeric_limits<float>::infinity());
  std::fill_n(state.sum, args.query_heads * kLaneTokens, 0.0F);
  return state;
}

// Puts maximum and sum of each head behind its accumulators, as a partial has them.
void finish_fold(const AttentionArgs& args, const FoldState& state) {
  for (std::size_t head = 0; head < args.query_heads; ++head) {
    float sum = 0;
    for (std::size_t lane = 0; lane < kLaneTokens; ++lane) {
      sum += state.sum[head * kLaneTokens + lane];
    }
    float* behind = state.accumulator + head * state.accumulator_stride + args.layout.head_dim;
    behind[0] = state.maximum[head];
    behind[1] = sum;
  }
}

// The row's queries times the scale, so that no logit needs it.
FoldShape scale_queries(const AttentionArgs& args, std::uint32_t row, Scratch& scratch) {
  const std::size_t count = std::size_t{args.query_heads} * args.layout.head_dim;
  const float* query = args.query + std::size_t{row} * args.query_stride;
  float* scaled = scratch.floats(count);
  for (std::size_t i = 0; i < count; ++i) scaled[i] = query[i] * args.scale;
  return {scaled, args.layout.head_dim, args.query_heads / args.layout.kv_heads};
}

using TileFold = void (*)(const FoldShape&, const TileView&, const TileView&, const FoldState&);

template <std::size_t Group>
TileFold fold_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return fold_tile<Group, float>;
    case DType::f16:
      return fold_tile<Group, hwy::float16_t>;
    case DType::bf16:
      break;
  }
  return fold_tile<Group, hwy::bfloat16_t>;
}

TileFold fold_of(const KvLayout& layout) {
  return layout.lane_tokens() == kLaneTokens ? fold_of<kLaneTokens>(layout.dtype)
                                             : fold_of<kSmallBlockTokens>(layout.dtype);
}

// Folds all heads. A second walk runs ahead of the first one and says what to prefetch.
template <class Cursor>
void fold_positions(const AttentionArgs& args, const FoldShape& shape, Cursor cursor,
                    const RowPositions& positions, const FoldState& state) {
  const TileFold fold = fold_of(args.layout);
  TileWalk<Cursor> walk(args, cursor, positions);
  TileWalk<Cursor> ahead(args, cursor, positions);
  const bool in_run =
      args.source.addressing == KvAddressing::contiguous || args.source.prefetch_runs != 0;
  for (std::uint32_t i = 0; i < (in_run ? kPrefetchTilesInRun : kPrefetchTiles) && !ahead.done();
       ++i) {
    ahead.advance();
  }
  for (; !walk.done(); walk.advance()) {
    fold(shape, walk.tile(), ahead.tile(), state);
    if (!ahead.done()) ahead.advance();
  }
}

// Wholly masked groups of positions of a chunk, which `static` `full` computes and drops.
RowPositions masked_positions(const AttentionArgs& args, const RowPositions& positions) {
  const auto lanes = args.layout.lane_tokens();
  RowPositions masked;
  masked.first =
      std::max(positions.first, static_cast<std::uint32_t>(round_up(positions.last, lanes)));
  masked.last =
      std::min(positions.first + args.tile_tokens * args.split_tiles, args.compute_length);
  return masked;
}

template <class Cursor>
void fold_chunk(const AttentionArgs& args, std::uint32_t item, Scratch scratch) {
  const std::uint32_t row = item % args.rows;
  const std::uint32_t chunk = item / args.rows;
  const RowPositions positions = chunk_positions(args, row, chunk);
  const RowPositions masked = masked_positions(args, positions);
  if (positions.first >= std::max(positions.last, masked.last)) return;
  const std::uint32_t history = args.history == nullptr ? row : args.history[row];
  const Cursor cursor(args.source, args.layout.block_bytes(), history, chunk);
  const FoldShape shape = scale_queries(args, row, scratch);
  const std::size_t stride = partial_stride(args.layout.head_dim);
  if (positions.first < positions.last) {
    float* partial =
        args.partial + (std::size_t{row} * args.chunks + chunk) * args.query_heads * stride;
    const FoldState state = start_fold(args, scratch, partial, stride);
    fold_positions(args, shape, cursor, positions, state);
    finish_fold(args, state);
  }
  if (masked.first < masked.last) {
    float* dropped = scratch.floats(args.query_heads * stride);
    fold_positions(args, shape, cursor, masked, start_fold(args, scratch, dropped, stride));
  }
}

void attention(const void* raw_args, std::uint32_t item, WorkerContext& worker) {
  const auto& args = *static_cast<const AttentionArgs*>(raw_args);
  KVRM_CHECK_LE(args.tile_tokens, kMaxTileTokens);
  const Scratch scratch(worker.scratch);
  switch (args.source.addressing) {
    case KvAddressing::contiguous:
      return fold_chunk<ContiguousCursor>(args, item, scratch);
    case KvAddressing::table:
      return fold_chunk<TableCursor>(args, item, scratch);
    case KvAddressing::groups:
      return fold_chunk<GroupCursor>(args, item, scratch);
  }
}

// output = output * keep + partial * add, over head_dim floats.
void merge_values(float* output, const float* partial, float keep, float add,
                  std::uint32_t head_dim) {
  const hn::CappedTag<float, 8> d;
  for (std::uint32_t dim = 0; dim < head_dim; dim += hn::MaxLanes(d)) {
    const auto kept = hn::Mul(hn::LoadU(d, output + dim), hn::Set(d, keep));
    hn::StoreU(hn::MulAdd(hn::LoadU(d, partial + dim), hn::Set(d, add), kept), d, output + dim);
  }
}

float scalar_exp(float x) {
  const hn::CappedTag<float, 4> d;
  return hn::GetLane(fast_exp(d, hn::Set(d, x)));
}

// One head: partials [chunks], chunk_stride floats apart, into output [head_dim].
void merge_head(const AttentionMergeArgs& args, const float* partial, std::size_t chunk_stride,
                std::uint64_t chunks, float* output) {
  float maximum = -std::numeric_limits<float>::infinity();
  float sum = 0;
  std::fill_n(output, args.head_dim, 0.0F);
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk, partial += chunk_stride) {
    if (partial[args.head_dim + 1] == 0) continue;  // all gap
    const float merged = std::max(maximum, partial[args.head_dim]);
    const float keep = scalar_exp(maximum - merged);
    const float add = scalar_exp(partial[args.head_dim] - merged);
    maximum = merged;
    sum = sum * keep + partial[args.head_dim + 1] * add;
    merge_values(output, partial, keep, add, args.head_dim);
  }
  if (chunks == 0) return;
  for (std::uint32_t dim = 0; dim < args.head_dim; ++dim) output[dim] /= sum;
}

void merge(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const AttentionMergeArgs*>(raw_args);
  const std::uint64_t chunks = divide_up(args.length[row], args.chunk_tokens);
  const std::size_t stride = partial_stride(args.head_dim);
  const std::size_t chunk_stride = stride * args.query_heads;
  const float* partial = args.partial + std::size_t{row} * args.chunks * chunk_stride;
  float* output = args.output + std::size_t{row} * args.output_stride;
  for (std::uint32_t head = 0; head < args.query_heads; ++head) {
    merge_head(args, partial + head * stride, chunk_stride, chunks,
               output + std::size_t{head} * args.head_dim);
  }
}

#if HWY_TARGET == HWY_AVX3
constexpr AttentionKernels kKernels = {{"attention/avx512", attention},
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

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();
