// The model's arithmetic as operations over a batch of rows, shared by every engine, for decode and
// prefill alike. It knows where a row's KV is only through KvSource; slots, blocks and requests are
// the engines' business.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engines/decoder/decoder_model.h"
#include "engines/graph/op_list.h"
#include "harness/base/result.h"
#include "harness/device/device.h"
#include "kernels/attention/attention.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

// The per-row inputs of a step, in device memory at fixed addresses. All arrays have capacity for a
// whole number of row tiles (kRowTile); every field of every row is defined, padding rows included.
struct RowArrays {
  TokenId* token = nullptr;  // kNoToken for padding and attention_only
  std::uint32_t* position = nullptr;
  std::uint32_t* length = nullptr;  // positions attention reads, the row's own included; 0: padding
  std::uint32_t* history = nullptr;     // row of the KV source's tables
  std::uint64_t* write_slot = nullptr;  // where the row's key and value go; kNoWrite: nowhere
  std::uint64_t* content_key = nullptr;
};

// Bytes that RowArrays for `rows` rows take, and the arrays laid out in them.
std::size_t row_arrays_bytes(std::uint32_t rows);
RowArrays place_row_arrays(std::byte* memory, std::uint32_t rows);

// KV of one layer as a step sees it: where new keys and values are written and where attention
// reads.
struct LayerKv {
  KvLayout layout;
  std::byte* write_pool = nullptr;
  KvSource source;
};

struct StepShape {
  std::uint32_t rows = 0;              // rows computed
  std::uint32_t first_output_row = 0;  // logits (or attention output) of these rows only
  std::uint32_t output_rows = 0;
  std::uint32_t chunks = 0;          // attention chunks covered, at least those of the longest row
  std::uint32_t compute_length = 0;  // AttentionArgs::compute_length
};

// Results by output row (row first_output_row is entry 0).
struct DecoderOutput {
  const TokenId* token = nullptr;         // [output rows]; decoder only
  const std::uint64_t* digest = nullptr;  // [output rows]; attention_only only
  const float* values = nullptr;          // [output rows, value_stride]
  std::uint32_t value_stride = 0;
  std::uint32_t value_count = 0;  // vocabulary, or layers * query_heads * head_dim
};

// Activations and outputs for up to max_rows rows at fixed addresses, and the operations over them.
class Decoder {
 public:
  // max_output_rows bounds StepShape::output_rows.
  static Result<Decoder> make(const DecoderModel& model, const KernelSet& kernels, Device& device,
                              std::uint32_t max_rows, std::uint32_t max_output_rows);

  // Appends a whole step. `layers` has one entry a layer. `before_attention`, where given, may
  // append operations between a layer's writes and its attention (a staging copy).
  void append_step(
      OpList& ops, const StepShape& shape, const RowArrays& rows, std::span<const LayerKv> layers,
      const std::function<void(OpList&, std::uint32_t layer)>& before_attention = {}) const;

  const DecoderOutput& output() const { return output_; }
  const DecoderModel& model() const { return *model_; }

 private:
  Decoder() = default;
  void append_decoder_layer(
      OpList& ops, const StepShape& shape, const RowArrays& rows, const LayerKv& kv,
      std::uint32_t layer,
      const std::function<void(OpList&, std::uint32_t)>& before_attention) const;

  const DecoderModel* model_ = nullptr;
  KernelSet kernels_;
  DecoderOutput output_;
  // private members: activation buffers
};

}  // namespace kvrm
