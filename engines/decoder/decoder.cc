#include "engines/decoder/decoder.h"

#include <algorithm>

#include "harness/base/check.h"
#include "kernels/rowwise/rowwise.h"

namespace kvrm {
namespace {

// Hands out 64-byte aligned arrays of one allocation; without memory it only adds up.
class Carver {
 public:
  explicit Carver(std::byte* memory) : memory_(memory) {}
  template <class T>
  T* take(std::size_t count) {
    auto* array = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + used_);
    used_ += round_up(count * sizeof(T), 64);
    return array;
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* memory_;
  std::size_t used_ = 0;
};

std::size_t partials_of_row(const ModelShape& shape) {  // floats, of the longest history
  return std::size_t{shape.max_chunks()} * shape.query_heads * partial_stride(shape.head_dim);
}

std::uint32_t attention_width(const ModelShape& shape) {
  return shape.query_heads * shape.head_dim;
}
std::uint32_t qkv_width(const ModelShape& shape) {
  return (shape.query_heads + 2 * shape.kv_heads) * shape.head_dim;
}

// Of the widest input of a product.
std::size_t prepared_row_bytes(const DecoderModel& model) {
  std::size_t bytes = model.packed_classifier().prepared_row_bytes();
  for (const PackedLayer& layer : model.packed_layers()) {
    for (const PackedLinear* product :
         {&layer.query_key_value, &layer.output, &layer.gate_up, &layer.down}) {
      bytes = std::max<std::size_t>(bytes, product->prepared_row_bytes());
    }
  }
  return bytes;
}

}  // namespace

RowResult row_result(const DecoderOutput& output, std::uint32_t row, SlotIndex slot) {
  RowResult result;
  result.slot = slot;
  if (output.token != nullptr) result.token = output.token[row];
  result.output_digest = output.token != nullptr ? result.token : output.digest[row];
  result.output = {output.values + std::size_t{row} * output.value_stride, output.value_count};
  return result;
}

Result<Decoder> Decoder::make(const DecoderModel& model, const KernelSet& kernels, Device& device,
                              std::uint32_t max_rows, std::uint32_t max_output_rows,
                              std::size_t partial_bytes) {
  KVRM_CHECK_LE(1U, max_output_rows);
  KVRM_CHECK_LE(max_output_rows, max_rows);
  const std::size_t row_partials = partials_of_row(model.shape());
  Decoder decoder;
  decoder.model_ = &model;
  decoder.kernels_ = kernels;
  decoder.max_rows_ = max_rows;
  decoder.max_output_rows_ = max_output_rows;
  decoder.partial_floats_ =
      std::max(row_partials, std::min(partial_bytes / sizeof(float), max_rows * row_partials));
  const std::size_t bytes = decoder.place_activations(nullptr, max_rows, max_output_rows);
  auto memory = device.allocate(MemoryPurpose::activations, bytes);
  if (!memory) return tl::unexpected<Error>(memory.error());
  decoder.memory_ = *std::move(memory);
  decoder.place_activations(decoder.memory_.data(), max_rows, max_output_rows);
  decoder.set_output();
  return decoder;
}

std::size_t Decoder::place_activations(std::byte* memory, std::uint32_t max_rows,
                                       std::uint32_t max_output_rows) {
  const ModelShape& shape = model_->shape();
  const std::size_t rows = round_up(max_rows, kRowTile) + kRowTile;
  const std::size_t output_rows = round_up(max_output_rows, kRowTile);
  Carver carver(memory);
  Activations& a = activations_;
  if (shape.kind == ModelKind::decoder) {
    a.hidden = carver.take<float>(rows * shape.model_dim);
    a.normed = carver.take<float>(rows * shape.model_dim);
    a.qkv = carver.take<float>(rows * qkv_width(shape));
    a.attention = carver.take<float>(rows * attention_width(shape));
    a.delta = carver.take<float>(rows * shape.model_dim);
    a.gate_up = carver.take<float>(rows * 2 * shape.hidden_dim);
    a.prepared = carver.take<std::byte>(rows * prepared_row_bytes(*model_));
    a.values = carver.take<float>(output_rows * shape.vocabulary);
    a.token = carver.take<TokenId>(output_rows);
  } else {
    a.query = carver.take<float>(output_rows * attention_width(shape));
    a.key_value = carver.take<float>(rows * 2 * shape.kv_heads * shape.head_dim);
    a.values = carver.take<float>(output_rows * shape.layers * attention_width(shape));
    a.digest = carver.take<std::uint64_t>(output_rows);
  }
  a.partial = carver.take<float>(partial_floats_);
  return carver.used();
}

void Decoder::set_output() {
  const ModelShape& shape = model_->shape();
  output_.token = activations_.token;
  output_.digest = activations_.digest;
  output_.values = activations_.values;
  output_.value_count =
      shape.kind == ModelKind::decoder ? shape.vocabulary : shape.layers * attention_width(shape);
  output_.value_stride = output_.value_count;
}

void Decoder::append_step(OpList& ops, const StepShape& shape, const RowArrays& rows,
                          std::span<const LayerKv> layers,
                          const BeforeAttention& before_attention) const {
  KVRM_CHECK_LE(1U, shape.rows);
  KVRM_CHECK_LE(shape.rows, max_rows_);
  KVRM_CHECK_LE(shape.output_rows, max_output_rows_);
  KVRM_CHECK_LE(shape.first_output_row + shape.output_rows, shape.rows);
  KVRM_CHECK_LE(1U, shape.chunks);
  KVRM_CHECK_LE(shape.chunks, model_->shape().max_chunks());
  KVRM_CHECK_EQ(layers.size(), std::size_t{model_->shape().layers});
  if (model_->shape().kind == ModelKind::decoder) {
    append_decoder(ops, shape, rows, layers, before_attention);
  } else {
    append_attention_only(ops, shape, rows, layers, before_attention);
  }
}

void Decoder::append_decoder(OpList& ops, const StepShape& shape, const RowArrays& rows,
                             std::span<const LayerKv> layers, const BeforeAttention& hook) const {
  const ModelShape& model = model_->shape();
  const Activations& a = activations_;
  const Rows all{0, shape.rows};
  const Rows output{shape.first_output_row, shape.output_rows};
  ops.add(kernels_.embedding,
          EmbeddingArgs{model_->weights().embedding.data(), rows.token, a.hidden, model.model_dim},
          shape.rows);
  for (std::uint32_t layer = 0; layer < model.layers; ++layer) {
    append_projection(ops, all, rows, layers[layer], layer);
    if (hook) hook(ops, layer);
    // Past the last layer's keys and values only the output rows matter.
    const Rows live = layer + 1 == model.layers ? output : all;
    if (live.count == 0) return;
    AttentionCall call;
    call.rows = live;
    call.query = a.qkv + std::size_t{live.first} * qkv_width(model);
    call.query_stride = qkv_width(model);
    call.output = a.attention + std::size_t{live.first} * attention_width(model);
    call.output_stride = attention_width(model);
    append_attention(ops, shape, rows, layers[layer], call);
    append_linear(ops, live, model_->packed_layers()[layer].output, a.attention,
                  attention_width(model), a.delta);
    append_feed_forward(ops, live, layer);
  }
  append_logits(ops, output, rows);
}

// Norm, query, key and value, rotation, and the new keys and values into the pool.
void Decoder::append_projection(OpList& ops, Rows range, const RowArrays& rows, const LayerKv& kv,
                                std::uint32_t layer) const {
  const ModelShape& model = model_->shape();
  const Activations& a = activations_;
  append_add_norm(ops, range, layer == 0 ? nullptr : a.delta,
                  model_->weights().layers[layer].attention_norm);
  append_linear(ops, range, model_->packed_layers()[layer].query_key_value, a.normed,
                model.model_dim, a.qkv);
  RotaryArgs rotary;
  rotary.table = model_->rotary_table().data();
  rotary.position = rows.position;
  rotary.query = a.qkv;
  rotary.key = a.qkv + attention_width(model);
  rotary.query_heads = model.query_heads;
  rotary.kv_heads = model.kv_heads;
  rotary.head_dim = model.head_dim;
  rotary.row_stride = qkv_width(model);
  ops.add(kernels_.rotary, rotary, range.count);
  append_kv_write(ops, range, rows, kv, rotary.key, rotary.row_stride);
}

void Decoder::append_feed_forward(OpList& ops, Rows range, std::uint32_t layer) const {
  const ModelShape& model = model_->shape();
  const Activations& a = activations_;
  const PackedLayer& packed = model_->packed_layers()[layer];
  append_add_norm(ops, range, a.delta, model_->weights().layers[layer].ffn_norm);
  append_linear(ops, range, packed.gate_up, a.normed, model.model_dim, a.gate_up);
  SwiGluArgs swiglu;
  swiglu.gate = a.gate_up + std::size_t{range.first} * 2 * model.hidden_dim;
  swiglu.up = swiglu.gate + model.hidden_dim;
  swiglu.hidden_dim = model.hidden_dim;
  swiglu.row_stride = 2 * model.hidden_dim;
  ops.add(kernels_.swiglu, swiglu, range.count);
  append_linear(ops, range, packed.down, a.gate_up, 2 * model.hidden_dim, a.delta);
}

void Decoder::append_logits(OpList& ops, Rows range, const RowArrays& rows) const {
  const ModelShape& model = model_->shape();
  const Activations& a = activations_;
  append_add_norm(ops, range, a.delta, model_->weights().final_norm);
  LinearArgs linear;
  linear.weights = &model_->packed_classifier();
  linear.x = a.normed + std::size_t{range.first} * model.model_dim;
  linear.y = a.values;
  linear.rows = range.count;
  linear.x_stride = model.model_dim;
  linear.y_stride = output_.value_stride;
  append_product(ops, linear);
  ArgmaxArgs argmax;
  argmax.logits = a.values;
  argmax.vocabulary = model.vocabulary;
  argmax.row_stride = output_.value_stride;
  argmax.length = rows.length + range.first;
  argmax.token = a.token;
  ops.add(kernels_.argmax, argmax, range.count);
}

// From hidden (and delta) into normed.
void Decoder::append_add_norm(OpList& ops, Rows range, const float* delta,
                              std::span<const float> weight) const {
  const std::size_t first = std::size_t{range.first} * model_->shape().model_dim;
  AddNormArgs args;
  args.hidden = activations_.hidden + first;
  args.delta = delta == nullptr ? nullptr : delta + first;
  args.weight = weight.data();
  args.output = activations_.normed + first;
  args.dim = model_->shape().model_dim;
  args.epsilon = model_->shape().norm_epsilon;
  ops.add(kernels_.add_norm, args, range.count);
}

// x and y are whole arrays, y dense.
void Decoder::append_linear(OpList& ops, Rows range, const PackedLinear& weights, const float* x,
                            std::uint32_t x_stride, float* y) const {
  LinearArgs args;
  args.weights = &weights;
  args.x = x + std::size_t{range.first} * x_stride;
  args.y = y + std::size_t{range.first} * weights.outputs();
  args.rows = range.count;
  args.x_stride = x_stride;
  args.y_stride = weights.outputs();
  append_product(ops, args);
}

void Decoder::append_product(OpList& ops, LinearArgs args) const {
  if (args.weights->prepared_row_bytes() != 0) {
    LinearInputArgs input;
    input.weights = args.weights;
    input.x = args.x;
    input.prepared = activations_.prepared;
    input.x_stride = args.x_stride;
    ops.add(kernels_.linear_input, input, args.rows);
    args.prepared = activations_.prepared;
  }
  ops.add(kernels_.linear, args, linear_row_tiles(args.rows) * args.weights->panels());
}

}  // namespace kvrm
