// One decode step of a batch as the decoder builds it, over KV in any placement: the operations,
// and their output beside that of the reference kernels. What is timed of it is the suites' choice.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engines/bench/kv_placement.h"
#include "engines/decoder/decoder.h"
#include "engines/graph/op_list.h"
#include "harness/base/result.h"
#include "harness/device/device.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

// What steps over one memory have in common; outlives them.
struct DecodeGround {
  Device* device = nullptr;
  const KernelSet* kernels = nullptr;
  const KernelSet* reference = nullptr;
  const DecoderModel* model = nullptr;
  std::span<const std::uint32_t> lengths;  // of the batch's histories
  std::byte* pool = nullptr;  // PlacedBatch::pool, for histories of the model's max_len
};

class DecodeRows {
 public:
  struct Options {
    PlacementSpec placement;
    bool compute_full = false;  // attention computes max_len positions of every row
    bool write = false;         // the last position's key and value are written; contiguous only
  };

  static Result<std::unique_ptr<DecodeRows>> make(const DecodeGround& ground,
                                                  const Options& options);

  std::span<const Op> ops() const { return ops_.ops(); }
  std::uint64_t live_kv_bytes() const;    // that attention has to read, all layers
  std::uint64_t padded_kv_bytes() const;  // with max_len positions of every row

  // Largest distance, over some rows, between the output and that of the reference kernels, as a
  // share of the latter's length (2-norms). The operations have run.
  Result<double> output_error();

 private:
  DecodeRows(const DecodeGround& ground, const Options& options, KvPlacement kv, Decoder decoder);
  Status place_rows();
  void build();
  RowInput row_input(std::uint32_t row) const;
  Result<double> row_error(std::uint32_t row);

  DecodeGround ground_;
  Options options_;
  KvPlacement kv_;
  Decoder decoder_;
  Buffer row_memory_;
  RowArrays rows_;
  OpList ops_;
};

// Runs operations one by one and waits for them.
void launch_all(Device& device, std::span<const Op> ops);
// Replays a graph and waits for it.
Nanoseconds timed_replay(Device& device, const RecordedGraph& graph);

}  // namespace kvrm
