#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_kernels.h"
#include "kernels/attention/block_cursor.h"
#include "kernels/attention/row_positions.h"
#include "kernels/attention/tile_walk.h"

namespace kvrm {
namespace {

// One query head of one row.
struct Head {
  const float* query = nullptr;  // [head_dim]
  std::uint32_t kv_head = 0;
};

// The running softmax of one head over the positions folded so far. Laid out as a partial.
struct State {
  float* accumulator = nullptr;  // [head_dim]
  float maximum = -std::numeric_limits<float>::infinity();
  float sum = 0;
};

float logit(const AttentionArgs& args, const Head& head, const std::byte* block,
            std::uint32_t token) {
  float dot = 0;
  for (std::uint32_t dim = 0; dim < args.layout.head_dim; ++dim) {
    dot += head.query[dim] * load_key(args.layout, block, head.kv_head, token, dim);
  }
  return dot * args.scale;
}

void add_value(const AttentionArgs& args, const Head& head, const std::byte* block,
               std::uint32_t token, float weight, State& state) {
  state.sum += weight;
  for (std::uint32_t dim = 0; dim < args.layout.head_dim; ++dim) {
    state.accumulator[dim] += weight * load_value(args.layout, block, head.kv_head, token, dim);
  }
}

// Folds positions [first, last), all of one tile and none masked or in a gap.
template <class Cursor>
void fold_tile(const AttentionArgs& args, const Head& head, Cursor& cursor,
               const RowPositions& positions, State& state) {
  const std::uint32_t first = positions.first;
  const std::uint32_t count = positions.last - first;
  const std::uint32_t block_tokens = args.layout.block_tokens;
  std::array<const std::byte*, kMaxTileTokens> blocks{};
  std::array<float, kMaxTileTokens> logits{};
  float maximum = state.maximum;
  for (std::uint32_t i = 0; i < count; ++i) {
    blocks[i] = cursor.block((first + i) / block_tokens);
    logits[i] = logit(args, head, blocks[i], (first + i) % block_tokens);
    if (first + i >= positions.bias_first &&
        first + i < positions.gap_first + KVRM_MUTATE(reference_bias_on_window, 0U, 1U)) {
      logits[i] += positions.bias[first + i - positions.bias_first];
    }
    maximum = std::max(maximum, logits[i]);
  }
  const float correction = std::exp(state.maximum - maximum);
  state.maximum = maximum;
  state.sum *= correction;
  for (std::uint32_t dim = 0; dim < args.layout.head_dim; ++dim) {
    state.accumulator[dim] *= correction;
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    add_value(args, head, blocks[i], (first + i) % block_tokens, std::exp(logits[i] - maximum),
              state);
  }
}

// Folds tile by tile; the first position starts one.
template <class Cursor>
State fold_positions(const AttentionArgs& args, const Head& head, Cursor& cursor,
                     const RowPositions& positions, float* accumulator) {
  State state;
  state.accumulator = accumulator;
  std::fill_n(accumulator, args.layout.head_dim, 0.0F);
  RowPositions tile = positions;
  for (; tile.first < positions.last; tile.first += args.tile_tokens) {
    if (positions.in_gap(tile.first)) continue;
    tile.last = std::min(tile.first + args.tile_tokens, positions.last);
    if (tile.first < positions.gap_first) tile.last = std::min(tile.last, positions.gap_first);
    fold_tile(args, head, cursor, tile, state);
  }
  return state;
}

// Folds all heads of a row's chunk, into partials [query_heads, partial_stride(head_dim)].
template <class Cursor>
void fold_heads(const AttentionArgs& args, const RowPositions& positions, std::uint32_t row,
                std::uint32_t chunk, float* partial) {
  const std::uint32_t history = args.history == nullptr ? row : args.history[row];
  for (std::uint32_t h = 0; h < args.query_heads; ++h) {
    Head head;
    head.query = args.query + std::size_t{row} * args.query_stride + h * args.layout.head_dim;
    head.kv_head = h / (args.query_heads / args.layout.kv_heads);
    Cursor cursor(args.source, args.layout.block_bytes(), history, chunk);
    const State state = fold_positions(args, head, cursor, positions, partial);
    partial[args.layout.head_dim] = state.maximum;
    partial[args.layout.head_dim + 1] = state.sum;
    partial += partial_stride(args.layout.head_dim);
  }
}

template <class Cursor>
void fold_chunk(const AttentionArgs& args, std::uint32_t row, std::uint32_t chunk,
                std::span<std::byte> scratch) {
  const std::size_t floats = std::size_t{args.query_heads} * partial_stride(args.layout.head_dim);
  const RowPositions positions = chunk_positions(args, row, chunk);
  if (positions.first < positions.last) {
    float* partial = args.partial + (std::size_t{row} * args.chunks + chunk) * floats;
    fold_heads<Cursor>(args, positions, row, chunk, partial);
  }
  // Wholly masked tiles: computed as `static` `full` must, and dropped.
  RowPositions masked;
  masked.first = std::max(positions.first,
                          static_cast<std::uint32_t>(round_up(positions.last, args.tile_tokens)));
  masked.last =
      std::min(positions.first + args.tile_tokens * args.split_tiles, args.compute_length);
  if (masked.first >= masked.last) return;
  KVRM_CHECK_LE(floats * sizeof(float), scratch.size());
  fold_heads<Cursor>(args, masked, row, chunk, reinterpret_cast<float*>(scratch.data()));
}

template <class Cursor>
void fold_item(const AttentionArgs& args, std::uint32_t item, std::span<std::byte> scratch) {
  const ItemRows rows = item_rows(args, item);
  for (std::uint32_t row = rows.first; row < rows.last; ++row) {
    for (std::uint32_t chunk = rows.first_chunk; chunk < rows.last_chunk; ++chunk) {
      fold_chunk<Cursor>(args, row, chunk, scratch);
    }
  }
}

void attention(const void* raw_args, std::uint32_t item, WorkerContext& worker) {
  const auto& args = *static_cast<const AttentionArgs*>(raw_args);
  KVRM_CHECK_LE(args.tile_tokens, kMaxTileTokens);
  switch (args.source.addressing) {
    case KvAddressing::contiguous:
      return fold_item<ContiguousCursor>(args, item, worker.scratch);
    case KvAddressing::table:
      return fold_item<TableCursor>(args, item, worker.scratch);
    case KvAddressing::groups:
      return fold_item<GroupCursor>(args, item, worker.scratch);
  }
}

// One head: partials [chunks], chunk_stride floats apart, into output [head_dim].
void merge_head(const AttentionMergeArgs& args, const float* partial, std::size_t chunk_stride,
                std::uint64_t chunks, float* output) {
  const std::uint32_t head_dim = args.head_dim;
  float maximum = -std::numeric_limits<float>::infinity();
  float sum = 0;
  std::fill_n(output, head_dim, 0.0F);
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk, partial += chunk_stride) {
    if (KVRM_MUTATE(merge_takes_empty_chunk, partial[head_dim + 1] == 0, false))
      continue;  // all gap; its maximum is no number to subtract
    const float merged = std::max(maximum, partial[head_dim]);
    const float keep = std::exp(maximum - merged);
    const float add = std::exp(partial[head_dim] - merged);
    maximum = merged;
    sum = sum * keep + partial[head_dim + 1] * add;
    for (std::uint32_t dim = 0; dim < head_dim; ++dim) {
      output[dim] = output[dim] * keep + partial[dim] * add;
    }
  }
  if (chunks == 0) return;
  for (std::uint32_t dim = 0; dim < head_dim; ++dim) output[dim] /= sum;
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

constexpr AttentionKernels kKernels = {{"attention/reference", attention},
                                       {"attention_merge/reference", merge}};

}  // namespace

const AttentionKernels& reference::attention_kernels() { return kKernels; }

}  // namespace kvrm
