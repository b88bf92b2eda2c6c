// The byte layout of KV memory, the same for every engine: where a key or value element of a
// (block, kv head, token) lies. Pure arithmetic; no memory is touched here.
//
// One layer of a pool is an array of blocks. A block holds, kv head by kv head, its keys and then
// its values:
//   keys    f32, f16: [block_tokens / lanes, head_dim, lanes]
//           bf16:     [block_tokens / lanes, head_dim / 2, lanes, 2]
//   values  [block_tokens, head_dim]
// Keys are transposed in groups of lanes = lane_tokens() tokens, so that a vector holds one
// dimension of as many tokens; bf16 pairs two dimensions. Blocks of 8 tokens have groups of 8, all
// others groups of 16.
// K and V of a head are adjacent and heads of a block are adjacent, so a run of blocks is one
// contiguous span (docs/ARCHITECTURE.md, Decisions, has the measurement behind this).
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/contract/model.h"

namespace kvrm {

inline constexpr std::uint32_t kLaneTokens = 16;  // tokens of one transposed key group, at most
inline constexpr std::uint32_t kSmallBlockTokens = 8;  // the one block that is smaller than that

constexpr bool is_block_tokens(std::uint32_t block_tokens) {
  return block_tokens == kSmallBlockTokens ||
         (block_tokens != 0 && block_tokens % kLaneTokens == 0);
}

struct KvLayout {
  DType dtype = DType::f32;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;      // a multiple of 8
  std::uint32_t block_tokens = 0;  // is_block_tokens()

  constexpr std::uint32_t lane_tokens() const {
    return block_tokens < kLaneTokens ? block_tokens : kLaneTokens;
  }
  constexpr std::uint64_t half_bytes() const {  // keys, or values, of one head of one block
    return std::uint64_t{block_tokens} * head_dim * dtype_bytes(dtype);
  }
  constexpr std::uint64_t head_bytes() const { return 2 * half_bytes(); }
  constexpr std::uint64_t block_bytes() const { return kv_heads * head_bytes(); }  // of one layer

  // Byte offset, inside a block, of key element (head, token, dim).
  constexpr std::uint64_t key_offset(std::uint32_t head, std::uint32_t token,
                                     std::uint32_t dim) const {
    const std::uint64_t lanes = lane_tokens();
    const std::uint64_t lane = token & (lanes - 1);  // lanes is a power of two
    const std::uint64_t in_group =
        dtype == DType::bf16 ? (dim - dim % 2) * lanes + 2 * lane + dim % 2 : dim * lanes + lane;
    return head * head_bytes() + ((token - lane) * head_dim + in_group) * dtype_bytes(dtype);
  }
  constexpr std::uint64_t value_offset(std::uint32_t head, std::uint32_t token,
                                       std::uint32_t dim) const {
    return head * head_bytes() + half_bytes() +
           (std::uint64_t{token} * head_dim + dim) * dtype_bytes(dtype);
  }
};

}  // namespace kvrm
