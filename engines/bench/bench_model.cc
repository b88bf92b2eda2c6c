#include "engines/bench/bench_model.h"

namespace kvrm {

DecoderSize decoder_size(BenchSize size) {
  ModelShape model{.kind = ModelKind::decoder, .layers = 2};
  model.weight_dtype = model.kv_dtype = DType::bf16;
  if (size == BenchSize::tiny) {
    model.model_dim = 64;
    model.hidden_dim = 96;
    model.query_heads = 4;
    model.kv_heads = 2;
    model.head_dim = 16;
    model.vocabulary = 97;
    model.max_len = 256;
    return {model, {3}, 100, 32, 64};
  }
  model.model_dim = 4096;
  model.hidden_dim = 14336;
  model.query_heads = 32;
  model.kv_heads = 8;
  model.head_dim = 128;
  model.vocabulary = 512;  // a layer is what is measured
  model.max_len = 2048;
  return {model, {1, 16}, 2048, 512, 1024};
}

std::uint64_t layer_weights(const PackedLayer& layer) {
  std::uint64_t weights = 0;
  for (const PackedLinear* linear :
       {&layer.query_key_value, &layer.output, &layer.gate_up, &layer.down}) {
    weights += std::uint64_t{linear->inputs()} * linear->outputs();
  }
  return weights;
}

std::uint64_t weight_bytes(const DecoderModel& model) {
  const PackedLinear& classifier = model.packed_classifier();
  std::uint64_t weights = std::uint64_t{classifier.inputs()} * classifier.outputs();
  for (const PackedLayer& layer : model.packed_layers()) weights += layer_weights(layer);
  return weights * dtype_bytes(model.shape().weight_dtype);
}

}  // namespace kvrm
