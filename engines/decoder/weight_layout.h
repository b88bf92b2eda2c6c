// Where each tensor of a Llama lies in one array of floats. Matrices that are multiplied together
// (query, key, value; gate, up) lie one after the other, so that they are one matrix without a
// copy. Not the order of any file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "harness/contract/model.h"

namespace kvrm {

struct Extent {  // of floats
  std::size_t first = 0;
  std::size_t count = 0;
};

enum class LayerTensor : std::uint8_t {
  attention_norm,  // [model_dim]
  query,           // [query_heads * head_dim, model_dim]
  key,             // [kv_heads * head_dim, model_dim]
  value,           // [kv_heads * head_dim, model_dim]
  output,          // [model_dim, query_heads * head_dim]
  ffn_norm,        // [model_dim]
  gate,            // [hidden_dim, model_dim]
  up,              // [hidden_dim, model_dim]
  down,            // [model_dim, hidden_dim]
};
inline constexpr std::size_t kLayerTensors = 9;

class WeightLayout {
 public:
  // A shape that check_model_shape() accepts. Without a classifier of its own the model uses its
  // embedding.
  WeightLayout(const ModelShape& shape, bool separate_classifier);

  Extent embedding() const { return embedding_; }    // [vocabulary, model_dim]
  Extent final_norm() const { return final_norm_; }  // [model_dim]
  Extent classifier() const { return classifier_; }  // [vocabulary, model_dim]
  Extent layer(std::uint32_t layer, LayerTensor tensor) const;
  std::size_t total() const { return total_; }  // floats

  // Spans of an array laid out like this.
  ModelWeights bind(std::span<const float> storage) const;
  // [(query_heads + 2 * kv_heads) * head_dim, model_dim] and [2 * hidden_dim, model_dim].
  std::span<const float> query_key_value(std::span<const float> storage, std::uint32_t layer) const;
  std::span<const float> gate_up(std::span<const float> storage, std::uint32_t layer) const;

 private:
  std::uint32_t layers_;
  Extent tensors_[kLayerTensors];  // of layer 0
  Extent embedding_;
  Extent final_norm_;
  Extent classifier_;
  std::size_t layer_floats_ = 0;
  std::size_t total_ = 0;
};

}  // namespace kvrm
