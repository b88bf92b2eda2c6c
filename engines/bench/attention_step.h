// The attention of a whole decode step as the engines launch it, ready to be replayed over KV in
// any placement: the decoder's own operations, less those that make queries and write KV.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engines/bench/attention_shapes.h"
#include "engines/bench/kv_placement.h"
#include "engines/decoder/decoder.h"
#include "engines/graph/op_list.h"
#include "harness/base/result.h"
#include "harness/base/units.h"
#include "harness/device/device.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

struct AttentionDesign {
  const char* name = "";
  PlacementSpec placement;
  bool compute_full = false;  // computes max_len positions of every row, as `static` `full`
  bool copy_tile = false;     // tile_copy.h
};

// What the designs of one shape have in common; outlives them.
struct AttentionGround {
  Device* device = nullptr;
  const KernelSet* kernels = nullptr;
  const KernelSet* reference = nullptr;
  const DecoderModel* model = nullptr;  // attention_only
  const AttentionShape* shape = nullptr;
  std::byte* pool = nullptr;
};

class AttentionStep {
 public:
  static Result<std::unique_ptr<AttentionStep>> make(const AttentionGround& ground,
                                                     const AttentionDesign& design);

  Nanoseconds replay();
  // KV bytes that a replay has to read: live ones, or all that compute_full computes.
  std::uint64_t bytes() const;
  // Largest distance, over some rows, between the output and that of the reference kernels, as a
  // share of the output's length (2-norms).
  Result<double> output_error();

 private:
  AttentionStep(const AttentionGround& ground, const AttentionDesign& design, KvPlacement kv,
                Decoder decoder)
      : ground_(ground), design_(design), kv_(std::move(kv)), decoder_(std::move(decoder)) {}
  Status place_rows();
  Status build();
  Status copy_tiles(Op& op);
  Result<double> row_error(std::uint32_t row);

  AttentionGround ground_;
  AttentionDesign design_;
  KvPlacement kv_;
  Decoder decoder_;
  Buffer row_memory_;
  RowArrays rows_;
  Buffer tiles_;
  OpList ops_;
  OpList tile_ops_;
  std::vector<Op> whole_;  // with queries made
  std::vector<Op> timed_;  // attention alone
  std::unique_ptr<RecordedGraph> graph_;
};

}  // namespace kvrm
