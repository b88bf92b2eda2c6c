// The parts of a layer that touch KV memory, the same for both kinds of model.
#include <algorithm>
#include <cmath>

#include "engines/decoder/decoder.h"
#include "harness/base/check.h"

namespace kvrm {

namespace {

// Enough for several workers to share a launch evenly; the same for any number of them, so that a
// launch does not depend on it.
constexpr std::uint32_t kWantedItems = 16;

std::uint32_t rows_per_item(const ModelShape& model, const StepShape& shape, std::uint32_t rows) {
  if (!shape.one_history) return 1;
  return std::clamp(rows / kWantedItems, 1U,
                    attention_rows_per_item(model.query_heads, model.head_dim));
}

}  // namespace

// Keys of the first row at `key`, its values right behind them.
void Decoder::append_kv_write(OpList& ops, Rows range, const RowArrays& rows, const LayerKv& kv,
                              const float* key, std::uint32_t row_stride) const {
  AppendKvArgs args;
  args.layout = kv.layout;
  args.pool = kv.write_pool;
  args.key = key;
  args.value = key + std::size_t{kv.layout.kv_heads} * kv.layout.head_dim;
  args.write_slot = rows.write_slot + range.first;
  args.row_stride = row_stride;
  ops.add(kernels_.append_kv, args, range.count);
  if (kv.mirror_pool == nullptr) return;
  args.pool = kv.mirror_pool;
  args.write_slot = kv.mirror_slot + range.first;
  ops.add(kernels_.append_kv, args, range.count);
}

void Decoder::append_attention(OpList& ops, const StepShape& shape, const RowArrays& rows,
                               const LayerKv& kv, const AttentionCall& call) const {
  const ModelShape& model = model_->shape();
  const std::size_t partials_of_row =
      std::size_t{shape.chunks} * model.query_heads * partial_stride(model.head_dim);
  const auto group = static_cast<std::uint32_t>(
      std::min<std::size_t>(partial_floats_ / partials_of_row, call.rows.count));
  KVRM_CHECK_LE(1U, group);
  AttentionArgs fold;
  fold.layout = kv.layout;
  fold.source = kv.source;
  fold.chunks = shape.chunks;
  fold.query_heads = model.query_heads;
  fold.tile_tokens = model.tile_tokens;
  fold.split_tiles = model.split_tiles;
  fold.compute_length = shape.compute_length;
  fold.scale = 1.0F / std::sqrt(static_cast<float>(model.head_dim));
  fold.query_stride = call.query_stride;
  fold.wanted_items = kWantedItems;
  fold.partial = activations_.partial;
  AttentionMergeArgs merge;
  merge.chunks = shape.chunks;
  merge.query_heads = model.query_heads;
  merge.head_dim = model.head_dim;
  merge.chunk_tokens = model.chunk_tokens();
  merge.output_stride = call.output_stride;
  merge.wanted_items = kWantedItems;
  merge.partial = activations_.partial;
  for (std::uint32_t done = 0; done < call.rows.count; done += group) {
    const std::uint32_t first = call.rows.first + done;
    fold.rows = merge.rows = std::min(group, call.rows.count - done);
    fold.query = call.query + std::size_t{done} * call.query_stride;
    fold.length = merge.length = rows.length + first;
    fold.history = rows.history + first;
    fold.far = rows.far + first;
    merge.output = call.output + std::size_t{done} * call.output_stride;
    fold.rows_per_item = rows_per_item(model, shape, fold.rows);
    ops.add(kernels_.attention, fold, attention_items(fold));
    ops.add(kernels_.attention_merge, merge, merge.rows);
  }
}

}  // namespace kvrm
