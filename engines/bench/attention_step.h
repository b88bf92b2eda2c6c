// The attention of a decode step as the engines launch it, ready to be replayed over KV in any
// placement: the decoder's own operations, less those that make queries and write KV.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engines/bench/decode_rows.h"
#include "engines/graph/op_list.h"
#include "harness/base/result.h"
#include "harness/base/units.h"
#include "harness/device/device.h"

namespace kvrm {

struct AttentionDesign {
  const char* name = "";
  PlacementSpec placement;
  bool compute_full = false;  // computes max_len positions of every row, as `static` `full`
  bool copy_tile = false;     // tile_copy.h
};

class AttentionStep {
 public:
  // The ground's model is attention_only.
  static Result<std::unique_ptr<AttentionStep>> make(const DecodeGround& ground,
                                                     const AttentionDesign& design);

  Nanoseconds replay() { return timed_replay(*ground_.device, *graph_); }
  // KV bytes that a replay has to read: live ones, or all that compute_full computes.
  std::uint64_t bytes() const;
  Result<double> output_error();  // DecodeRows::output_error()

 private:
  AttentionStep(const DecodeGround& ground, const AttentionDesign& design,
                std::unique_ptr<DecodeRows> rows)
      : ground_(ground), design_(design), rows_(std::move(rows)) {}
  Status build();
  Status copy_tiles(Op& op);
  void merge_chunks(Op& op);

  DecodeGround ground_;
  AttentionDesign design_;
  std::unique_ptr<DecodeRows> rows_;
  Buffer tiles_;
  OpList tile_ops_;
  std::vector<Op> whole_;  // with queries made
  std::unique_ptr<RecordedGraph> graph_;
};

}  // namespace kvrm
