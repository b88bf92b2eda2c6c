// A loaded Llama (or the shape alone, for attention_only): weights as spans for the oracle and
// packed for the kernels.
#pragma once

#include <memory>
#include <vector>

#include "harness/base/result.h"
#include "harness/config/experiment.h"
#include "harness/contract/model.h"
#include "kernels/linear/linear.h"

namespace kvrm {

struct CheckpointHeader;

struct PackedLayer {
  PackedLinear query_key_value;  // rows of query, key and value weights one after the other
  PackedLinear output;
  PackedLinear gate_up;  // gate, then up
  PackedLinear down;
};

class DecoderModel final : public Model {
 public:
  // From a llama2.c checkpoint or generated from the seed, as the spec says. Errors name the file
  // and what is wrong.
  static Result<std::unique_ptr<DecoderModel>> load(const ModelSpec& spec);

  const std::vector<PackedLayer>& packed_layers() const { return packed_layers_; }
  const PackedLinear& packed_classifier() const { return *packed_classifier_; }
  // [max_len, head_dim / 2, 2]; empty for attention_only, as are the packed layers.
  const std::vector<float>& rotary_table() const { return rotary_table_; }

 private:
  DecoderModel() = default;
  Status load_weights(const ModelSpec& spec, const CheckpointHeader& header);
  const ModelShape& do_shape() const override { return shape_; }
  const ModelWeights& do_weights() const override { return weights_; }
  std::uint64_t do_digest() const override { return digest_; }

  ModelShape shape_;
  ModelWeights weights_;
  std::vector<float> storage_;  // what the spans of weights_ point into
  std::vector<PackedLayer> packed_layers_;
  std::unique_ptr<PackedLinear> packed_classifier_;
  std::vector<float> rotary_table_;
  std::uint64_t digest_ = 0;
};

}  // namespace kvrm
