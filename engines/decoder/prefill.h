// Prefill: the same eager sequence for all engines, outside the decode graph. One chunk of one
// history's positions as rows; each row's attention has the same canonical order as in decode, so
// recomputing a history gives the same bits.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engines/decoder/decoder.h"
#include "harness/contract/engine.h"

namespace kvrm {

// How a row sees its history (RowInput); without far history all positions up to its own.
struct RowView {
  std::uint32_t length = 0;
  FarSpan far;
};

class Prefill {
 public:
  // Chunks of up to max_rows positions.
  static Result<Prefill> make(const DecoderModel& model, const KernelSet& kernels, Device& device,
                              std::uint32_t max_rows);
  // max_rows that suits a budget of prefill_tokens, the same for every engine.
  static std::uint32_t rows_for_budget(std::uint32_t prefill_tokens);

  struct Chunk {
    std::uint32_t first = 0;  // position of the first row
    std::uint32_t count = 0;
    bool last = false;          // yields a result
    std::uint32_t history = 0;  // row of the KV source's tables
    std::uint64_t content_key = 0;
    std::uint64_t prefix_key = 0;  // of positions below prefix_tokens, as in Admission
    std::uint32_t prefix_tokens = 0;
    std::span<const TokenId> tokens;  // [count]; empty for attention_only
    std::function<std::uint64_t(std::uint32_t position)> write_slot;
    std::function<RowView(std::uint32_t position)> view;  // empty: without far history
  };
  // Runs the chunk to its end; a longer one is cut into pieces of max_rows. The result's slot is
  // left 0; it is empty unless the chunk is the last one.
  RowResult run(const Chunk& chunk, std::span<const LayerKv> layers);

  // All activations and outputs, for tests that poison them.
  std::span<std::byte> activations() const { return decoder_.activations(); }

 private:
  Prefill(Decoder decoder, Buffer row_memory, Device& device, std::uint32_t max_rows);
  void fill_rows(const Chunk& chunk, std::uint32_t first, std::uint32_t count) const;

  Decoder decoder_;
  Buffer row_memory_;
  RowArrays rows_;
  Device* device_;
  std::uint32_t max_rows_;
  OpList ops_;
};

}  // namespace kvrm
