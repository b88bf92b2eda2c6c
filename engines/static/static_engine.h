// `static`: contiguous KV of max_len positions for every slot, reserved at the start, and one
// recorded graph over all slots. What a contiguous static KV cache does today; it never runs out
// while it runs, and it never gives anything back.
#pragma once

#include <memory>

#include "engines/decoder/decoder_model.h"
#include "harness/base/result.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/device/device.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

// Slots: as many as max_batch allows and kv_bytes holds; an error when it holds none. Row i of
// every step is slot i.
//
// Graphs: one for max_len positions, and one for each length bucket below it; a step replays the
// smallest that covers its longest history. `full` computes that many positions for every row,
// padding rows too, and discards the masked ones; `early_exit` stops at each row's length.
//
// The launch hash is taken anew at every replay.
Result<std::unique_ptr<Engine>> make_static_engine(const EngineSpec& spec,
                                                   const DecoderModel& model,
                                                   const KernelSet& kernels, Device& device);

}  // namespace kvrm
