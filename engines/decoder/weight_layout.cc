#include "engines/decoder/weight_layout.h"

#include "harness/base/check.h"

namespace kvrm {

WeightLayout::WeightLayout(const ModelShape& shape, bool separate_classifier)
    : layers_(shape.layers) {
  const std::size_t model = shape.model_dim;
  const std::size_t hidden = shape.hidden_dim;
  const std::size_t query = std::size_t{shape.query_heads} * shape.head_dim;
  const std::size_t kv = std::size_t{shape.kv_heads} * shape.head_dim;
  // In the order of LayerTensor.
  const std::size_t counts[kLayerTensors] = {model,          query * model,  kv * model,
                                             kv * model,     model * query,  model,
                                             hidden * model, hidden * model, model * hidden};

  embedding_ = {0, shape.vocabulary * model};
  const std::size_t first_layer = embedding_.count;
  for (std::size_t tensor = 0; tensor < kLayerTensors; ++tensor) {
    tensors_[tensor] = {first_layer + layer_floats_, counts[tensor]};
    layer_floats_ += counts[tensor];
  }
  final_norm_ = {first_layer + layers_ * layer_floats_, model};
  total_ = final_norm_.first + final_norm_.count;
  classifier_ = embedding_;
  if (separate_classifier) {
    classifier_.first = total_;
    total_ += classifier_.count;
  }
}

Extent WeightLayout::layer(std::uint32_t layer, LayerTensor tensor) const {
  KVRM_CHECK_LT(layer, layers_);
  const Extent first = tensors_[static_cast<std::size_t>(tensor)];
  return {first.first + layer * layer_floats_, first.count};
}

ModelWeights WeightLayout::bind(std::span<const float> storage) const {
  KVRM_CHECK_EQ(storage.size(), total_);
  const auto span = [&](Extent extent) { return storage.subspan(extent.first, extent.count); };
  ModelWeights weights;
  weights.embedding = span(embedding_);
  weights.final_norm = span(final_norm_);
  weights.classifier = span(classifier_);
  weights.layers.resize(layers_);
  for (std::uint32_t i = 0; i < layers_; ++i) {
    LayerWeights& layer_weights = weights.layers[i];
    layer_weights.attention_norm = span(layer(i, LayerTensor::attention_norm));
    layer_weights.query = span(layer(i, LayerTensor::query));
    layer_weights.key = span(layer(i, LayerTensor::key));
    layer_weights.value = span(layer(i, LayerTensor::value));
    layer_weights.output = span(layer(i, LayerTensor::output));
    layer_weights.ffn_norm = span(layer(i, LayerTensor::ffn_norm));
    layer_weights.gate = span(layer(i, LayerTensor::gate));
    layer_weights.up = span(layer(i, LayerTensor::up));
    layer_weights.down = span(layer(i, LayerTensor::down));
  }
  return weights;
}

std::span<const float> WeightLayout::query_key_value(std::span<const float> storage,
                                                     std::uint32_t index) const {
  const Extent query = layer(index, LayerTensor::query);
  const Extent output = layer(index, LayerTensor::output);
  return storage.subspan(query.first, output.first - query.first);
}

std::span<const float> WeightLayout::gate_up(std::span<const float> storage,
                                             std::uint32_t index) const {
  const Extent gate = layer(index, LayerTensor::gate);
  const Extent down = layer(index, LayerTensor::down);
  return storage.subspan(gate.first, down.first - gate.first);
}

}  // namespace kvrm
