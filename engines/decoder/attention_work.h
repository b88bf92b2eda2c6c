// How much attention a row of a step does, for the counters; the same rule for every engine.
#pragma once

#include <algorithm>
#include <cstdint>

#include "harness/base/units.h"
#include "harness/contract/step_descriptor.h"
#include "kernels/page/kv_layout.h"

namespace kvrm {

struct AttentionWork {
  std::uint64_t attended = 0;  // positions computed in one layer, masked ones included
  std::uint64_t masked = 0;    // of those, positions that contribute nothing
};

// A row of `length` positions in a step with that AttentionArgs::compute_length. Kernels compute
// whole lane groups, KvLayout::lane_tokens() positions each. Of a far history they skip the gap, up
// to the rest of the lane group in which it starts.
constexpr AttentionWork attention_work(std::uint32_t length, std::uint32_t compute_length,
                                       std::uint32_t lane_tokens, const FarSpan& far = {}) {
  const std::uint64_t gap_first = far.first + far.entries;
  const std::uint64_t gap = far.window - gap_first;
  const std::uint64_t skipped = far.window - round_up(gap_first, lane_tokens);
  const std::uint64_t attended = round_up(std::max(length, compute_length), lane_tokens) - skipped;
  return {attended, attended + gap - length};
}

}  // namespace kvrm
