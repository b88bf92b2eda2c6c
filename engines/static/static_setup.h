// What a static engine is made of: its budget turned into slots, its memory, and its graphs. Made
// once; the engine only runs it.
#pragma once

#include <cstdint>
#include <vector>

#include "engines/decoder/contiguous_kv.h"
#include "engines/decoder/decoder.h"
#include "engines/decoder/prefill.h"
#include "engines/graph/checked_graph.h"
#include "harness/base/result.h"
#include "harness/contract/engine_spec.h"

namespace kvrm {

struct LengthGraph {
  std::uint32_t max_length = 0;      // of the histories that it covers
  std::uint32_t compute_length = 0;  // AttentionArgs::compute_length
  CheckedGraph graph;
};

struct StaticSetup {
  std::uint32_t slots = 0;
  std::uint32_t max_len = 0;
  std::uint64_t slot_bytes = 0;
  ContiguousKv kv;
  Decoder decoder;
  Prefill prefill;
  Buffer row_memory;
  RowArrays rows;                   // [slots], all padding
  std::vector<LengthGraph> graphs;  // ascending max_length, the last one max_len
};

Result<StaticSetup> make_static_setup(const EngineSpec& spec, const DecoderModel& model,
                                      const KernelSet& kernels, Device& device);

}  // namespace kvrm
