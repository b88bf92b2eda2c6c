// The KV path alone: keys and values of every row are written, queries are made and answered for
// the output rows.
#include "engines/decoder/decoder.h"
#include "kernels/rowwise/rowwise.h"

namespace kvrm {

void Decoder::append_attention_only(OpList& ops, const StepShape& shape, const RowArrays& rows,
                                    std::span<const LayerKv> layers,
                                    const BeforeAttention& hook) const {
  const ModelShape& model = model_->shape();
  const Activations& a = activations_;
  const std::uint32_t kv_stride = 2 * model.kv_heads * model.head_dim;
  const std::uint32_t width = model.query_heads * model.head_dim;
  const Rows output{shape.first_output_row, shape.output_rows};
  const std::uint32_t output_end = output.first + output.count;
  for (std::uint32_t layer = 0; layer < model.layers; ++layer) {
    append_content(ops, {0, output.first}, rows, nullptr, layer);
    append_content(ops, output, rows, a.query, layer);
    append_content(ops, {output_end, shape.rows - output_end}, rows, nullptr, layer);
    append_kv_write(ops, {0, shape.rows}, rows, layers[layer], a.key_value, kv_stride);
    if (hook) hook(ops, layer);
    if (output.count == 0) continue;
    AttentionCall call;
    call.rows = output;
    call.query = a.query;
    call.query_stride = width;
    call.output = a.values + std::size_t{layer} * width;
    call.output_stride = output_.value_stride;
    append_attention(ops, shape, rows, layers[layer], call);
  }
  if (output.count == 0) return;
  DigestArgs digest;
  digest.output = a.values;
  digest.count = output_.value_count;
  digest.row_stride = output_.value_stride;
  digest.length = rows.length + output.first;
  digest.digest = a.digest;
  ops.add(kernels_.digest, digest, output.count);
}

void Decoder::append_content(OpList& ops, Rows range, const RowArrays& rows, float* query,
                             std::uint32_t layer) const {
  if (range.count == 0) return;
  const ModelShape& model = model_->shape();
  ContentArgs args;
  args.content_key = rows.content_key + range.first;
  args.position = rows.position + range.first;
  args.length = rows.length + range.first;
  args.query = query;
  args.query_heads = model.query_heads;
  args.kv_heads = model.kv_heads;
  args.head_dim = model.head_dim;
  args.layer = layer;
  args.query_stride = model.query_heads * model.head_dim;
  args.kv_stride = 2 * model.kv_heads * model.head_dim;
  args.key = activations_.key_value + std::size_t{range.first} * args.kv_stride;
  args.value = args.key + std::size_t{model.kv_heads} * model.head_dim;
  ops.add(kernels_.content, args, range.count);
}

}  // namespace kvrm
