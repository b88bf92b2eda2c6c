// The Llama decoder one token at a time in double precision: the mathematics as published, in plain
// loops. Keys and values are rounded to the KV type, as every engine stores them, and so are the
// means of a far history; nothing else is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "harness/base/ids.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"
#include "property_tests/oracle/reference_far_history.h"

namespace kvrm {

// Keys and values of one history; all of them, also where far history has summarised them.
struct ReferenceHistory {
  // [layers][kv_heads], each [positions, head_dim]
  std::vector<std::vector<std::vector<double>>> keys;
  std::vector<std::vector<std::vector<double>>> values;
  std::vector<std::vector<ReferenceFarHistory>> far;  // [layers][kv_heads]
  std::uint32_t positions = 0;
};

class ReferenceLlama {
 public:
  // The model must outlive this.
  ReferenceLlama(const Model& model, const FarHistoryRule& rule);

  ReferenceHistory empty_history() const;
  // Appends `token` to the history. With a shadow, every head's output in it is compared with exact
  // attention of the same query over the same keys and values.
  void consume(TokenId token, ReferenceHistory& history, ShadowError* shadow);
  // Logits [vocabulary] after the token last consumed.
  std::vector<double> logits() const;

 private:
  void attention(std::uint32_t layer, ReferenceHistory& history, ShadowError* shadow);
  void feed_forward(const LayerWeights& weights);

  const ModelShape& shape_;
  const ModelWeights& weights_;
  FarHistoryRule rule_;
  std::vector<double> hidden_;  // [model_dim]
};

}  // namespace kvrm
