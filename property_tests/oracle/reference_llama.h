// The Llama decoder one token at a time in double precision: the mathematics as published, in plain
// loops. Keys and values are rounded to the KV type, as every engine stores them; nothing else is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "harness/base/ids.h"
#include "harness/contract/model.h"

namespace kvrm {

// Keys and values of one history.
struct ReferenceHistory {
  // [layers][kv_heads], each [positions, head_dim]
  std::vector<std::vector<std::vector<double>>> keys;
  std::vector<std::vector<std::vector<double>>> values;
  std::uint32_t positions = 0;
};

class ReferenceLlama {
 public:
  // The model must outlive this.
  explicit ReferenceLlama(const Model& model);

  ReferenceHistory empty_history() const;
  // Appends `token` to the history.
  void consume(TokenId token, ReferenceHistory& history);
  // Logits [vocabulary] after the token last consumed.
  std::vector<double> logits() const;

 private:
  void attention(const LayerWeights& weights, std::uint32_t layer, ReferenceHistory& history);
  void feed_forward(const LayerWeights& weights);

  const ModelShape& shape_;
  const ModelWeights& weights_;
  std::vector<double> hidden_;  // [model_dim]
  std::vector<double> scratch_;
};

}  // namespace kvrm
