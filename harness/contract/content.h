// The content of attention_only: queries, keys and values as pure functions of (request, layer,
// position), so that any byte in a KV pool can be checked without computing anything else. Also the
// generated prompt tokens of a decoder.
#pragma once

#include <cstdint>

#include "harness/base/ids.h"
#include "harness/base/prng.h"

namespace kvrm {

enum class ContentPart : std::uint32_t { query = 0, key = 1, value = 2 };

// Eight dimensions share one 64-bit word: dimension d is byte d % 8 of word d / 8.
constexpr std::uint64_t content_word(std::uint64_t content_key, ContentPart part,
                                     std::uint32_t layer, std::uint32_t position,
                                     std::uint32_t head, std::uint32_t word) {
  const std::uint64_t place = (std::uint64_t{position} << 32) | (std::uint64_t{layer} << 20) |
                              (std::uint64_t{head} << 10) | (std::uint64_t{word} << 2) |
                              static_cast<std::uint64_t>(part);
  return mix64(content_key ^ (place * 0xd1b54a32d192ed03ULL));
}

// Keys and values lie in [-1, 1) and queries in [-4, 4), in steps that f32, f16 and bf16 all hold
// exactly, so that rounding to the KV type changes nothing. With head_dim 128 logits have a
// standard deviation near 1.3.
constexpr float content_element(std::uint64_t word, std::uint32_t byte, ContentPart part) {
  const auto raw = static_cast<std::int8_t>((word >> (8 * byte)) & 0xff);
  return static_cast<float>(raw) * (part == ContentPart::query ? 1.0F / 32.0F : 1.0F / 128.0F);
}

constexpr float content_value(std::uint64_t content_key, ContentPart part, std::uint32_t layer,
                              std::uint32_t position, std::uint32_t head, std::uint32_t dim) {
  return content_element(content_word(content_key, part, layer, position, head, dim / 8), dim % 8,
                         part);
}

// Which key names the content at a position of a history whose first prefix_tokens positions are
// shared with others.
constexpr std::uint64_t content_key_at(std::uint64_t content_key, std::uint64_t prefix_key,
                                       std::uint32_t prefix_tokens, std::uint32_t position) {
  return position < prefix_tokens ? prefix_key : content_key;
}

// Token `index` of a generated prompt; token 0 is left to what the model calls begin-of-sequence
// only by chance.
constexpr TokenId content_token(std::uint64_t content_key, std::uint32_t index,
                                std::uint32_t vocabulary) {
  return static_cast<TokenId>(mix64(content_key ^ (0x70726f6d7074ULL + index)) % vocabulary);
}

}  // namespace kvrm
