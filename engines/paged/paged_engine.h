// The engines `paged` and `paged_graph`: a block pool read through block tables, the active slots
// compacted to the front of the batch. `paged` plans and launches each step anew, as a dynamic
// runtime does; `paged_graph` replays a graph recorded for the next larger bucket.
#pragma once

#include <memory>

#include "engines/decoder/decoder_model.h"
#include "harness/base/result.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/device/device.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

// The model and the device must outlive the engine. Errors name the option or the memory that does
// not fit.
Result<std::unique_ptr<Engine>> make_paged_engine(const EngineSpec& spec, const DecoderModel& model,
                                                  const KernelSet& kernels, Device& device);
Result<std::unique_ptr<Engine>> make_paged_graph_engine(const EngineSpec& spec,
                                                        const DecoderModel& model,
                                                        const KernelSet& kernels, Device& device);

}  // namespace kvrm
