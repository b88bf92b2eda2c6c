// Attention over the generated content of attention_only, straight from content.h: no cache, so
// nothing can be stored in the wrong place.
#pragma once

#include <cstdint>
#include <vector>

#include "harness/contract/content.h"
#include "harness/contract/model.h"

namespace kvrm {

// Whose content a history's positions are.
struct ContentOwner {
  std::uint64_t content_key = 0;
  std::uint64_t prefix_key = 0;
  std::uint32_t prefix_tokens = 0;

  std::uint64_t key_at(std::uint32_t position) const {
    return content_key_at(content_key, prefix_key, prefix_tokens, position);
  }
};

// Output [layers, query_heads, head_dim] of the query at position `positions` - 1 over all
// `positions` positions (at least 1). Keys and values are rounded to the KV type.
std::vector<float> reference_content_attention(const ModelShape& shape, const ContentOwner& owner,
                                               std::uint32_t positions);

}  // namespace kvrm
