// The model's arithmetic as operations over a batch of rows, shared by every engine, for decode and
// prefill alike. It knows where a row's KV is only through KvSource; slots, blocks and requests are
// the engines' business.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engines/decoder/decoder_model.h"
#include "engines/decoder/row_arrays.h"
#include "engines/graph/op_list.h"
#include "harness/base/result.h"
#include "harness/base/units.h"
#include "harness/contract/engine.h"
#include "harness/device/device.h"
#include "kernels/attention/attention.h"
#include "kernels/dispatch/kernel_set.h"
#include "kernels/linear/linear.h"

namespace kvrm {

// KV of one layer as a step sees it: where new keys and values are written and where attention
// reads.
struct LayerKv {
  KvLayout layout;
  std::byte* write_pool = nullptr;
  KvSource source;
  // Where a copy of new keys and values is written too, by write slots of its own; null: nowhere.
  std::byte* mirror_pool = nullptr;
  const std::uint64_t* mirror_slot = nullptr;  // [rows]
};

struct StepShape {
  std::uint32_t rows = 0;              // rows computed
  std::uint32_t first_output_row = 0;  // logits (or attention output) of these rows only
  std::uint32_t output_rows = 0;
  std::uint32_t chunks = 0;          // attention chunks covered, at least those of the longest row
  std::uint32_t compute_length = 0;  // AttentionArgs::compute_length
  bool one_history = false;          // all rows are positions of one history; not with the former
};

// Results by output row (row first_output_row is entry 0).
struct DecoderOutput {
  const TokenId* token = nullptr;         // [output rows]; decoder only
  const std::uint64_t* digest = nullptr;  // [output rows]; attention_only only
  const float* values = nullptr;          // [output rows, value_stride]
  std::uint32_t value_stride = 0;
  std::uint32_t value_count = 0;  // vocabulary, or layers * query_heads * head_dim
};

// The result of output row `row`, as an engine hands it on.
RowResult row_result(const DecoderOutput& output, std::uint32_t row, SlotIndex slot);

// Memory for attention partials; a launch that needs more is cut into groups of rows.
inline constexpr std::size_t kPartialBytesMax = 64 * kMiB;

// Activations and outputs for up to max_rows rows at fixed addresses, and the operations over them.
class Decoder {
 public:
  using BeforeAttention = std::function<void(OpList&, std::uint32_t layer)>;

  // max_output_rows bounds StepShape::output_rows. Activations are undefined between steps, and
  // nothing reads what a step has not written.
  static Result<Decoder> make(const DecoderModel& model, const KernelSet& kernels, Device& device,
                              std::uint32_t max_rows, std::uint32_t max_output_rows,
                              std::size_t partial_bytes = kPartialBytesMax);

  // Appends a whole step. `layers` has one entry a layer. `before_attention`, where given, may
  // append operations between a layer's writes and its attention (a staging copy).
  void append_step(OpList& ops, const StepShape& shape, const RowArrays& rows,
                   std::span<const LayerKv> layers,
                   const BeforeAttention& before_attention = {}) const;

  const DecoderOutput& output() const { return output_; }
  const DecoderModel& model() const { return *model_; }
  // All activations and outputs, for tests that poison them.
  std::span<std::byte> activations() const { return memory_.as<std::byte>(); }

 private:
  struct Rows {  // rows [first, first + count) of a step
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };
  // Where activations lie. Every array has a row tile to spare, so that products may start at any
  // row.
  struct Activations {
    float* hidden = nullptr;        // [rows, model_dim]; decoder, as all to gate_up
    float* normed = nullptr;        // [rows, model_dim]
    float* qkv = nullptr;           // [rows, query_heads + 2 * kv_heads, head_dim]
    float* attention = nullptr;     // [rows, query_heads, head_dim]
    float* delta = nullptr;         // [rows, model_dim]
    float* gate_up = nullptr;       // [rows, 2 * hidden_dim]
    std::byte* prepared = nullptr;  // [rows, the widest prepared_row_bytes()]
    float* query = nullptr;         // [output rows, query_heads, head_dim]; attention_only
    float* key_value = nullptr;     // [rows, 2 * kv_heads, head_dim]; attention_only
    float* values = nullptr;        // [output rows, value_stride]
    float* partial = nullptr;       // [rows of a group, chunks, query_heads, partial_stride]
    TokenId* token = nullptr;
    std::uint64_t* digest = nullptr;
  };
  struct AttentionCall {
    Rows rows;                     // of the row arrays
    const float* query = nullptr;  // of the first row
    std::uint32_t query_stride = 0;
    float* output = nullptr;
    std::uint32_t output_stride = 0;
  };

  Decoder() = default;
  void set_output();
  std::size_t place_activations(std::byte* memory, std::uint32_t max_rows,
                                std::uint32_t max_output_rows);

  // The whole Llama (decoder.cc).
  void append_decoder(OpList& ops, const StepShape& shape, const RowArrays& rows,
                      std::span<const LayerKv> layers, const BeforeAttention& hook) const;
  void append_projection(OpList& ops, Rows range, const RowArrays& rows, const LayerKv& kv,
                         std::uint32_t layer) const;
  void append_feed_forward(OpList& ops, Rows range, std::uint32_t layer) const;
  void append_logits(OpList& ops, Rows range, const RowArrays& rows) const;
  void append_add_norm(OpList& ops, Rows range, const float* delta,
                       std::span<const float> weight) const;
  void append_product(OpList& ops, LinearArgs args) const;
  void append_linear(OpList& ops, Rows range, const PackedLinear& weights, const float* x,
                     std::uint32_t x_stride, float* y) const;

  // The KV path alone (attention_only.cc).
  void append_attention_only(OpList& ops, const StepShape& shape, const RowArrays& rows,
                             std::span<const LayerKv> layers, const BeforeAttention& hook) const;
  void append_content(OpList& ops, Rows range, const RowArrays& rows, float* query,
                      std::uint32_t layer) const;

  // Both (decoder_attention.cc).
  void append_kv_write(OpList& ops, Rows range, const RowArrays& rows, const LayerKv& kv,
                       const float* key, std::uint32_t row_stride) const;
  void append_attention(OpList& ops, const StepShape& shape, const RowArrays& rows,
                        const LayerKv& kv, const AttentionCall& call) const;

  const DecoderModel* model_ = nullptr;
  KernelSet kernels_;
  Buffer memory_;
  Activations activations_;
  std::size_t partial_floats_ = 0;
  std::uint32_t max_rows_ = 0;
  std::uint32_t max_output_rows_ = 0;
  DecoderOutput output_;
};

}  // namespace kvrm
