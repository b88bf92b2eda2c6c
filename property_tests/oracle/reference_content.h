// Attention over the generated content of attention_only, straight from content.h: no cache, so
// nothing can be stored in the wrong place.
#pragma once

#include <cstdint>
#include <vector>

#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"

namespace kvrm {

// Which content a history has, and how much of it.
struct ContentHistory {
  std::uint64_t content_key = 0;
  std::uint64_t prefix_key = 0;  // of the first prefix_tokens positions
  std::uint32_t prefix_tokens = 0;
  std::uint32_t positions = 0;  // at least 1
};

// Output [layers, query_heads, head_dim] of the query at the last position over all of them, as the
// rule has it. Keys and values are rounded to the KV type. With an enabled rule every head's output
// is compared with exact attention, counted in `shadow`.
std::vector<float> reference_content_attention(const ModelShape& shape,
                                               const ContentHistory& content,
                                               const FarHistoryRule& rule, ShadowError& shadow);

}  // namespace kvrm
