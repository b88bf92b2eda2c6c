#include "engines/decoder/contiguous_kv.h"

#include <fmt/core.h>

#include <utility>

#include "harness/base/check.h"
#include "harness/base/units.h"

namespace kvrm {

Status check_block_tokens(const ModelShape& model, std::uint32_t block_tokens) {
  if (!is_block_tokens(block_tokens)) {
    return bad_input(fmt::format("block_tokens: {} is neither {} nor a multiple of {}",
                                 block_tokens, kSmallBlockTokens, kLaneTokens));
  }
  if (block_tokens % model.tile_tokens != 0 && model.tile_tokens % block_tokens != 0) {
    return bad_input(
        fmt::format("block_tokens: {} neither divides the model's tile_tokens, {}, nor "
                    "is divided by it",
                    block_tokens, model.tile_tokens));
  }
  return {};
}

std::uint64_t ContiguousKv::history_bytes(const ModelShape& model, std::uint32_t block_tokens,
                                          std::uint32_t max_len) {
  return round_up(max_len, block_tokens) * model.kv_bytes_per_token();
}

Result<ContiguousKv> ContiguousKv::make(const ModelShape& model, std::uint32_t block_tokens,
                                        std::uint32_t max_len, std::uint32_t histories,
                                        Device& device) {
  KVRM_CHECK(check_block_tokens(model, block_tokens).has_value());
  ContiguousKv kv;
  kv.capacity_ = round_up(max_len, block_tokens);
  auto memory = device.allocate(MemoryPurpose::kv_pool,
                                histories * history_bytes(model, block_tokens, max_len));
  if (!memory) return tl::unexpected<Error>(memory.error());
  kv.memory_ = *std::move(memory);

  LayerKv layer;
  layer.layout = {model.kv_dtype, model.kv_heads, model.head_dim, block_tokens};
  layer.source.addressing = KvAddressing::contiguous;
  layer.source.history_stride = kv.capacity_ / block_tokens * layer.layout.block_bytes();
  for (std::uint32_t i = 0; i < model.layers; ++i) {
    layer.write_pool =
        kv.memory_.data() + std::uint64_t{i} * histories * layer.source.history_stride;
    layer.source.base = layer.write_pool;
    kv.layers_.push_back(layer);
  }
  return kv;
}

const std::byte* ContiguousKv::block(std::uint32_t layer, std::uint32_t history,
                                     std::uint32_t position) const {
  const LayerKv& kv = layers_[layer];
  return kv.source.base + history * kv.source.history_stride +
         position / kv.layout.block_tokens * kv.layout.block_bytes();
}

}  // namespace kvrm
