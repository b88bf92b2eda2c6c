// Prefill over a block pool: the one block table and the one row of far-history biases that it
// reads, in device memory, filled anew for each piece. Which positions, and when memory is taken
// for them, is PooledHistories' business.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engines/decoder/prefill.h"
#include "engines/history/far_slots.h"
#include "engines/history/kv_pool.h"
#include "harness/base/result.h"

namespace kvrm {

class HistoryPrefill {
 public:
  static Result<HistoryPrefill> make(const EngineSpec& spec, const PoolPlan& plan,
                                     const KvPool& pool, const DecoderModel& model,
                                     const KernelSet& kernels, Device& device);

  // Before the first piece of a chunk: the entries that its history has. The chunk before it may
  // have been another history's.
  void begin_chunk(std::span<const FarBias> biases);
  // Runs the updates, which are of one history.
  void update(const FarChanges& changes);
  // Runs a chunk of the history whose blocks are `table`.
  RowResult run(const Prefill::Chunk& chunk, std::span<const BlockIndex> table);

  std::size_t bytes() const { return table_.bytes() + biases_.bytes() + updates_.bytes(); }

 private:
  HistoryPrefill(Prefill prefill, const KernelSet& kernels, Device& device)
      : prefill_(std::move(prefill)), far_update_(kernels.far_update), device_(&device) {}
  Status allocate(const PoolPlan& plan);
  void set_layers(const EngineSpec& spec, const PoolPlan& plan, const KvPool& pool);

  Prefill prefill_;
  const Kernel* far_update_;
  Device* device_;
  Buffer table_;    // [max_blocks_per_history]
  Buffer biases_;   // [max_blocks_per_history]
  Buffer updates_;  // a count, then the list
  FarUpdateArgs update_args_;
  std::uint32_t update_items_ = 0;
  std::vector<LayerKv> layers_;
};

}  // namespace kvrm
