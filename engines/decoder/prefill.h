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

class Prefill {
 public:
  // Chunks of up to max_rows positions.
  static Result<Prefill> make(const DecoderModel& model, const KernelSet& kernels, Device& device,
                              std::uint32_t max_rows);

  struct Chunk {
    std::uint32_t first = 0;  // position of the first row
    std::uint32_t count = 0;
    bool last = false;          // yields a result
    std::uint32_t history = 0;  // row of the KV source's tables
    std::uint64_t content_key = 0;
    std::span<const TokenId> tokens;  // [count]; empty for attention_only
    std::function<std::uint64_t(std::uint32_t position)> write_slot;
  };
  // Runs the chunk to its end; a longer one is cut into pieces of max_rows. The result's slot is
  // left 0.
  RowResult run(const Chunk& chunk, std::span<const LayerKv> layers);

 private:
  Prefill() = default;
  // private members: decoder, row arrays buffer, op list
};

}  // namespace kvrm
