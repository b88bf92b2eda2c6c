// Device-side copies of blocks for engines without a step record: a list at a fixed address that an
// operation reads, filled from what the pager has queued.
#pragma once

#include <cstdint>
#include <span>

#include "engines/graph/op_list.h"
#include "engines/history/block_run.h"
#include "engines/history/kv_pool.h"
#include "harness/base/result.h"
#include "kernels/dispatch/kernel_set.h"
#include "kernels/page/page.h"

namespace kvrm {

class BlockCopies {
 public:
  // Up to `capacity` copies a step.
  static Result<BlockCopies> make(const PoolPlan& plan, const KvPool& pool,
                                  const KernelSet& kernels, std::uint32_t capacity, Device& device);

  // The list as it is when the operation runs; empty unless it was set.
  void append(OpList& ops) const;
  void set(std::span<const BlockMove> moves);
  std::size_t bytes() const { return buffer_.bytes(); }

 private:
  BlockCopies() = default;

  Buffer buffer_;  // a count, then the list
  const Kernel* kernel_ = nullptr;
  CopyBlocksArgs args_;
  std::uint32_t capacity_ = 0;
};

}  // namespace kvrm
