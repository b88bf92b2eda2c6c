// Test only: models that are a shape alone, or a small Llama of random weights.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "harness/base/prng.h"
#include "harness/contract/model.h"

namespace kvrm {

class ShapeOnlyModel final : public Model {
 public:
  explicit ShapeOnlyModel(const ModelShape& shape) : shape_(shape) {}

 private:
  const ModelShape& do_shape() const override { return shape_; }
  const ModelWeights& do_weights() const override { return weights_; }
  std::uint64_t do_digest() const override { return 0; }
  ModelShape shape_;
  ModelWeights weights_;
};

inline ModelShape small_llama_shape(DType kv_dtype) {
  ModelShape shape;
  shape.layers = 2;
  shape.model_dim = 32;
  shape.hidden_dim = 48;
  shape.query_heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 8;
  shape.vocabulary = 50;
  shape.max_len = 128;
  shape.kv_dtype = kv_dtype;
  return shape;
}

class RandomLlama final : public Model {
 public:
  RandomLlama(const ModelShape& shape, std::uint64_t seed)
      : shape_(shape), random_(seed, "random llama") {
    const std::size_t dim = shape.model_dim;
    const std::size_t kv = std::size_t{shape.kv_heads} * shape.head_dim;
    const std::size_t hidden = shape.hidden_dim;
    weights_.embedding = weights_.classifier = make(shape.vocabulary, dim);
    weights_.final_norm = make(1, dim);
    for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
      weights_.layers.push_back({.attention_norm = make(1, dim),
                                 .query = make(dim, dim),
                                 .key = make(kv, dim),
                                 .value = make(kv, dim),
                                 .output = make(dim, dim),
                                 .ffn_norm = make(1, dim),
                                 .gate = make(hidden, dim),
                                 .up = make(hidden, dim),
                                 .down = make(dim, hidden)});
    }
  }

 private:
  const ModelShape& do_shape() const override { return shape_; }
  const ModelWeights& do_weights() const override { return weights_; }
  std::uint64_t do_digest() const override { return 0; }

  // Large enough that attention is far from uniform.
  std::span<const float> make(std::size_t rows, std::size_t columns) {
    std::vector<float> matrix;
    const double scale = rows == 1 ? 1 : 2 / std::sqrt(static_cast<double>(columns));
    for (std::size_t i = 0; i < rows * columns; ++i) {
      matrix.push_back(static_cast<float>(scale * random_.normal()));
    }
    matrices_.push_back(std::move(matrix));
    return matrices_.back();
  }

  ModelShape shape_;
  ModelWeights weights_;
  RandomStream random_;
  std::vector<std::vector<float>> matrices_;
};

}  // namespace kvrm
