// The integer names that cross folder borders. Words as in docs/ARCHITECTURE.md.
#pragma once

#include <cstdint>
#include <limits>

namespace kvrm {

using RequestId = std::uint64_t;   // position of a request in its workload, from 0
using SlotIndex = std::uint32_t;   // row of the fixed batch, from 0
using BlockIndex = std::uint32_t;  // physical block in a pool
using TokenId = std::uint32_t;     // index in the vocabulary
using Epoch = std::uint64_t;  // number of a commit; also of the step that the commit belongs to

inline constexpr TokenId kNoToken = std::numeric_limits<TokenId>::max();
inline constexpr BlockIndex kNoBlock = std::numeric_limits<BlockIndex>::max();

}  // namespace kvrm
