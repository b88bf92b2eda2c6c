// One item of a SIMD target's attention: which rows and positions, in which order, with what
// prefetched. The arithmetic is the target's (fold.h).
#pragma once

#include <cstdint>

#include "harness/device/device.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/fold.h"

namespace kvrm {

void fold_item(const AttentionArgs& args, std::uint32_t item, WorkerContext& worker,
               const TileFolds& folds);

}  // namespace kvrm
