// The one graph of `kvrm`: which operations, in which order, over which addresses. Everything that
// varies from step to step reaches them through the step image; nothing here runs.
//
//   apply the step record -> far-history updates -> copies in the pool -> [delta: staging] ->
//   layers
#pragma once

#include <cstdint>

#include "engines/decoder/decoder.h"
#include "engines/descriptor/step_descriptor.h"
#include "engines/graph/op_list.h"
#include "engines/history/kv_pool.h"
#include "harness/contract/engine_spec.h"
#include "harness/device/device.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

// What the graph is made of; all of it outlives the graph.
struct GraphParts {
  const EngineOptions& options;
  const PoolPlan& plan;
  const KvPool& pool;
  const Decoder& decoder;
  const StepDescriptor& descriptor;
  const KernelSet& kernels;
  std::uint64_t* view_slots = nullptr;  // [slots, whole row tiles] transport `delta`: write slots
                                        // into the views
};

OpList kvrm_step_ops(const GraphParts& parts);

}  // namespace kvrm
