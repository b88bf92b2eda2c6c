// The model of the suite `decoder`: layers of an 8B-shaped Llama with generated weights, or of a
// tiny one, and how much there is to read and to compute in them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engines/decoder/decoder_model.h"
#include "harness/base/result.h"
#include "harness/bench/bench.h"

namespace kvrm {

struct DecoderSize {
  ModelShape model;
  std::vector<std::uint32_t> batches;
  std::uint32_t context = 0;
  std::uint32_t prefill_chunk = 0;
  std::uint32_t matmul_size = 0;
};

// Two layers: of the last one prefill needs no more than keys and values, as in an engine.
DecoderSize decoder_size(BenchSize size);

// The model, generated when a point first needs it.
class LazyModel {
 public:
  explicit LazyModel(const ModelShape& shape) { spec_.shape = shape; }
  Result<const DecoderModel*> get() {
    if (!model_) {
      auto model = DecoderModel::load(spec_);
      if (!model) return tl::unexpected<Error>(model.error());
      model_ = *std::move(model);
    }
    return model_.get();
  }

 private:
  ModelSpec spec_;
  std::unique_ptr<DecoderModel> model_;
};

std::uint64_t layer_weights(const PackedLayer& layer);  // numbers

// Of all matrices, as the weights' type has them: a CPU without products in that type reads more.
std::uint64_t weight_bytes(const DecoderModel& model);

}  // namespace kvrm
