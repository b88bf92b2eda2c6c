// Attention over the generated content of attention_only, straight from content.h: no cache, so
// nothing can be stored in the wrong place.
#pragma once

#include <cstdint>
#include <vector>

#include "harness/contract/model.h"

namespace kvrm {

// Output [layers, query_heads, head_dim] of the query at position `positions` - 1 over all
// `positions` positions (at least 1). Keys and values are rounded to the KV type.
std::vector<float> reference_content_attention(const ModelShape& shape, std::uint64_t content_key,
                                               std::uint32_t positions);

}  // namespace kvrm
