// KV memory in which every history has its own contiguous, fully reserved span: the slots of
// `static`. Who holds a history is the engine's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engines/decoder/decoder.h"
#include "harness/base/result.h"
#include "harness/contract/model.h"
#include "harness/device/device.h"

namespace kvrm {

class ContiguousKv {
 public:
  // Bytes of one history of max_len positions, rounded up to whole blocks, all layers.
  static std::uint64_t history_bytes(const ModelShape& model, std::uint32_t block_tokens,
                                     std::uint32_t max_len);

  // block_tokens: is_block_tokens(), and divides tile_tokens or is divided by it.
  static Result<ContiguousKv> make(const ModelShape& model, std::uint32_t block_tokens,
                                   std::uint32_t max_len, std::uint32_t histories, Device& device);

  std::span<const LayerKv> layers() const { return layers_; }
  // RowInput::write_slot of a position.
  std::uint64_t write_slot(std::uint32_t history, std::uint32_t position) const {
    return history * capacity_ + position;
  }
  // The block of one layer that holds a position.
  const std::byte* block(std::uint32_t layer, std::uint32_t history, std::uint32_t position) const;
  std::span<std::byte> memory() const { return memory_.as<std::byte>(); }

 private:
  ContiguousKv() = default;

  Buffer memory_;  // [layer, history, block, block_bytes]
  std::vector<LayerKv> layers_;
  std::uint64_t capacity_ = 0;  // positions of a history, whole blocks
};

// One clear error unless block_tokens suits the kernels and the model's tiles.
Status check_block_tokens(const ModelShape& model, std::uint32_t block_tokens);

}  // namespace kvrm
