#include "engines/decoder/decoder_model.h"

#include <fmt/core.h>

#include <bit>
#include <utility>

#include "engines/decoder/checkpoint.h"
#include "engines/decoder/generated.h"
#include "engines/decoder/model_shape.h"
#include "engines/decoder/weight_layout.h"
#include "harness/base/hash.h"
#include "harness/base/units.h"
#include "harness/device/cpu_device.h"
#include "kernels/rowwise/rowwise.h"

namespace kvrm {
namespace {

// The file's shape with what the specification may choose: number types, canonical order, and a
// shorter longest history.
Result<ModelShape> merge_shape(const ModelSpec& spec, const ModelShape& file) {
  if (spec.shape.kind == ModelKind::attention_only) {
    return bad_input("model.checkpoint: an attention_only model has no weights");
  }
  ModelShape shape = file;
  shape.weight_dtype = spec.shape.weight_dtype;
  shape.kv_dtype = spec.shape.kv_dtype;
  shape.tile_tokens = spec.shape.tile_tokens;
  shape.split_tiles = spec.shape.split_tiles;
  if (spec.shape.max_len > file.max_len) {
    return bad_input(fmt::format("{}: model.shape.max_len: {} is more than the checkpoint's {}",
                                 spec.checkpoint, spec.shape.max_len, file.max_len));
  }
  if (spec.shape.max_len != 0) shape.max_len = spec.shape.max_len;
  return shape;
}

// Weights are kept as f32 and once more packed.
Status check_memory(const ModelShape& shape, const WeightLayout& layout) {
  const std::uint64_t needed = layout.total() * (sizeof(float) + dtype_bytes(shape.weight_dtype));
  const std::uint64_t available = available_memory_bytes();
  if (needed <= available) return {};
  return fail(ExitCode::incomplete,
              fmt::format("out of memory: the model's weights need {}, this process may still take "
                          "{}",
                          format_bytes(needed), format_bytes(available)));
}

void round_weights(DType dtype, std::span<float> storage) {
  if (dtype == DType::f32) return;
  for (float& weight : storage) weight = round_to(dtype, weight);
}

std::uint64_t digest_model(const ModelShape& shape, std::span<const float> storage) {
  const std::uint64_t fields[] = {static_cast<std::uint64_t>(shape.kind),
                                  shape.layers,
                                  shape.model_dim,
                                  shape.hidden_dim,
                                  shape.query_heads,
                                  shape.kv_heads,
                                  shape.head_dim,
                                  shape.vocabulary,
                                  shape.max_len,
                                  std::bit_cast<std::uint32_t>(shape.rope_theta),
                                  std::bit_cast<std::uint32_t>(shape.norm_epsilon),
                                  static_cast<std::uint64_t>(shape.weight_dtype),
                                  static_cast<std::uint64_t>(shape.kv_dtype),
                                  shape.tile_tokens,
                                  shape.split_tiles};
  std::uint64_t digest = 0;
  for (const std::uint64_t field : fields) digest = hash_combine(digest, field);
  return hash_bytes(std::as_bytes(storage), digest);
}

PackedLayer pack_layer(const ModelShape& shape, const WeightLayout& layout,
                       const LayerWeights& weights, std::span<const float> storage,
                       std::uint32_t layer) {
  const DType dtype = shape.weight_dtype;
  const std::uint32_t query_width = shape.query_heads * shape.head_dim;
  const std::uint32_t qkv_width = query_width + 2 * shape.kv_heads * shape.head_dim;
  return {
      PackedLinear(layout.query_key_value(storage, layer), qkv_width, shape.model_dim, dtype),
      PackedLinear(weights.output, shape.model_dim, query_width, dtype),
      PackedLinear(layout.gate_up(storage, layer), 2 * shape.hidden_dim, shape.model_dim, dtype),
      PackedLinear(weights.down, shape.model_dim, shape.hidden_dim, dtype)};
}

}  // namespace

Result<std::unique_ptr<DecoderModel>> DecoderModel::load(const ModelSpec& spec) {
  std::unique_ptr<DecoderModel> model(new DecoderModel());
  model->shape_ = spec.shape;
  CheckpointHeader header;
  header.separate_classifier = true;  // of generated weights
  if (!spec.checkpoint.empty()) {
    auto read = read_checkpoint_header(spec.checkpoint);
    if (!read) return tl::unexpected<Error>(read.error());
    header = *read;
    auto merged = merge_shape(spec, header.shape);
    if (!merged) return tl::unexpected<Error>(merged.error());
    model->shape_ = *merged;
  }
  if (auto checked = check_model_shape(model->shape_); !checked) {
    return tl::unexpected<Error>(checked.error());
  }
  if (model->shape_.kind == ModelKind::attention_only) {
    model->digest_ = digest_model(model->shape_, {});
    return model;
  }
  if (auto loaded = model->load_weights(spec, header); !loaded) {
    return tl::unexpected<Error>(loaded.error());
  }
  return model;
}

Status DecoderModel::load_weights(const ModelSpec& spec, const CheckpointHeader& header) {
  const WeightLayout layout(shape_, header.separate_classifier);
  if (auto room = check_memory(shape_, layout); !room) return room;
  storage_.resize(layout.total());
  if (spec.checkpoint.empty()) {
    generate_weights(shape_, spec.seed, layout, storage_);
  } else if (auto read = read_checkpoint_weights(spec.checkpoint, header, layout, storage_);
             !read) {
    return read;
  }
  round_weights(shape_.weight_dtype, storage_);
  weights_ = layout.bind(storage_);
  digest_ = digest_model(shape_, storage_);
  for (std::uint32_t layer = 0; layer < shape_.layers; ++layer) {
    packed_layers_.push_back(pack_layer(shape_, layout, weights_.layers[layer], storage_, layer));
  }
  packed_classifier_ = std::make_unique<PackedLinear>(weights_.classifier, shape_.vocabulary,
                                                      shape_.model_dim, shape_.weight_dtype);
  rotary_table_.resize(std::size_t{shape_.max_len} * shape_.head_dim);
  fill_rotary_table(rotary_table_.data(), shape_.max_len, shape_.head_dim, shape_.rope_theta);
  return {};
}

}  // namespace kvrm
