// The KV memory of a pooled engine: how a byte budget becomes blocks (and a staging view), and the
// block pool itself, one array of blocks a layer. Which block belongs to whom is the pager's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/base/result.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"
#include "harness/device/device.h"
#include "kernels/page/kv_layout.h"

namespace kvrm {

// Everything about a pooled engine's memory that follows from its spec.
struct PoolPlan {
  KvLayout layout;
  std::uint32_t layers = 0;
  std::uint32_t slots = 0;
  std::uint32_t max_length = 0;              // positions of the longest history
  std::uint32_t max_blocks_per_history = 0;  // that hold max_length
  std::uint32_t pool_blocks = 0;
  std::uint64_t view_stride = 0;  // bytes of one slot's contiguous view of one layer; 0: no view
  std::size_t token_bytes = 0;    // KV of one position, all layers

  // Bytes that one block takes in all layers together.
  std::uint64_t block_bytes() const { return layout.block_bytes() * layers; }
  std::uint64_t pool_bytes() const { return block_bytes() * pool_blocks; }
  std::uint64_t view_bytes() const { return view_stride * slots; }
};

enum class StagingView : std::uint8_t { none, one_layer };

// Splits the budget: first the view, where there is one, of as many slots as half of the budget
// holds; then as many blocks as fit, but no more than max_batch histories of max_len could ever
// use. Errors, with the numbers: options that do not fit the model's tiles, and a pool that cannot
// hold one history of max_len.
Result<PoolPlan> plan_pool(const EngineSpec& spec, const ModelShape& shape, StagingView view);

class KvPool {
 public:
  static Result<KvPool> make(const PoolPlan& plan, Device& device);

  // [pool_blocks, layout.block_bytes()]
  std::byte* layer(std::uint32_t index) const { return buffer_.data() + index * layer_bytes_; }
  std::byte* view() const { return view_.data(); }  // [slots, view_stride], of one layer at a time

 private:
  KvPool() = default;

  Buffer buffer_;
  Buffer view_;
  std::uint64_t layer_bytes_ = 0;
};

}  // namespace kvrm
