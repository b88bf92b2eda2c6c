#include "engines/decoder/generated.h"

#include <fmt/core.h>

#include <array>
#include <cmath>
#include <string_view>

#include "harness/base/prng.h"

namespace kvrm {
namespace {

constexpr std::array<std::string_view, kLayerTensors> kTensorNames = {
    "attention_norm", "query", "key", "value", "output", "ffn_norm", "gate", "up", "down"};

// Uniform in mean +- half_width: two 32-bit draws a word, since a model has many weights.
void fill(std::span<float> tensor, RandomStream& random, float mean, float half_width) {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < tensor.size(); ++i) {
    if (i % 2 == 0) word = random.next();
    const auto draw = static_cast<std::int32_t>(i % 2 == 0 ? word : word >> 32);
    tensor[i] = mean + half_width * (static_cast<float>(draw) * 0x1p-31F);
  }
}

// A uniform distribution of standard deviation scale / sqrt(inputs): sums of `inputs` products with
// unit values have the size of `scale`.
float half_width(double scale, double inputs) {
  return static_cast<float>(scale * std::sqrt(3.0 / inputs));
}

// Matrices keep the size of a unit input; the two that add to the residual share its growth over
// all layers.
float half_width_of(const ModelShape& shape, LayerTensor tensor) {
  const double share = 1 / std::sqrt(2.0 * shape.layers);
  switch (tensor) {
    case LayerTensor::output:
      return half_width(share, shape.query_heads * shape.head_dim);
    case LayerTensor::down:
      return half_width(3 * share, shape.hidden_dim);  // silu(gate) * up is about a third of unit
    default:
      return half_width(1, shape.model_dim);
  }
}

bool is_norm(LayerTensor tensor) {
  return tensor == LayerTensor::attention_norm || tensor == LayerTensor::ffn_norm;
}

}  // namespace

void generate_weights(const ModelShape& shape, std::uint64_t seed, const WeightLayout& layout,
                      std::span<float> storage) {
  const auto generate = [&](Extent extent, std::string_view name, float mean, float width) {
    RandomStream random(seed, name);
    fill(storage.subspan(extent.first, extent.count), random, mean, width);
  };
  constexpr float kNormSpread = 0.25F;
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (std::size_t i = 0; i < kLayerTensors; ++i) {
      const auto tensor = static_cast<LayerTensor>(i);
      const bool norm = is_norm(tensor);
      generate(layout.layer(layer, tensor), fmt::format("weights.{}.{}", kTensorNames[i], layer),
               norm ? 1.0F : 0.0F, norm ? kNormSpread : half_width_of(shape, tensor));
    }
  }
  generate(layout.embedding(), "weights.embedding", 0, half_width(1, 1));
  generate(layout.final_norm(), "weights.final_norm", 1, kNormSpread);
  generate(layout.classifier(), "weights.classifier", 0, half_width(1, shape.model_dim));
}

}  // namespace kvrm
