// How much attention a row of a step does, for the counters; the same rule for every engine.
#pragma once

#include <algorithm>
#include <cstdint>

#include "harness/base/units.h"
#include "kernels/page/kv_layout.h"

namespace kvrm {

struct AttentionWork {
  std::uint64_t attended = 0;  // positions computed in one layer, masked ones included
  std::uint64_t masked = 0;    // of those, positions that contribute nothing
};

// A row of `length` positions in a step with that AttentionArgs::compute_length. Kernels compute
// whole lane groups of kLaneTokens positions.
constexpr AttentionWork attention_work(std::uint32_t length, std::uint32_t compute_length) {
  const std::uint64_t attended = round_up(std::max(length, compute_length), kLaneTokens);
  return {attended, attended - length};
}

}  // namespace kvrm
