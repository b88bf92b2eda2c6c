// The KV memory of a pooled engine: how a byte budget becomes blocks (and views), and the block
// pool itself, one array of blocks a layer. Which block belongs to whom is the pager's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/base/ids.h"
#include "harness/base/result.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"
#include "harness/device/device.h"
#include "harness/device/page_mapper.h"
#include "kernels/page/kv_layout.h"

namespace kvrm {

// How each slot's history is seen in one piece.
enum class StagingView : std::uint8_t {
  none,         // it is not: blocks are read where they lie
  one_layer,    // copied for each layer in turn (transport `full`)
  every_layer,  // copied and kept (transport `delta`)
  mapped,       // page tables only, no memory of its own (transport `remap`)
};

// Everything about a pooled engine's memory that follows from its spec.
struct PoolPlan {
  KvLayout layout;
  std::uint32_t layers = 0;
  std::uint32_t slots = 0;
  std::uint32_t max_length = 0;              // positions of the longest history
  std::uint32_t max_blocks_per_history = 0;  // that attention reads: hold max_length positions
  std::uint32_t history_blocks = 0;          // most blocks that one history ever holds
  std::uint32_t pool_blocks = 0;
  StagingView view = StagingView::none;
  PoolPages pages = PoolPages::huge;
  std::uint64_t view_stride = 0;  // bytes of one slot's view of one layer; 0: no view
  std::size_t token_bytes = 0;    // KV of one position, all layers

  // Bytes that one block takes in all layers together.
  std::uint64_t block_bytes() const { return layout.block_bytes() * layers; }
  std::uint64_t layer_bytes() const { return layout.block_bytes() * pool_blocks; }
  std::uint64_t pool_bytes() const { return block_bytes() * pool_blocks; }
  std::uint64_t view_layer_bytes() const { return view_stride * slots; }
  // Bytes that the view takes for each slot.
  std::uint64_t view_slot_bytes() const {
    if (view == StagingView::mapped) return 0;
    return view == StagingView::every_layer ? view_stride * layers : view_stride;
  }
  std::uint64_t view_bytes() const { return view_slot_bytes() * slots; }
};

// Splits the budget: first the view, where it takes memory, of as many slots as half of the budget
// holds; then as many blocks as fit, but no more than max_batch histories could ever use. Errors,
// with the numbers: options that do not fit the model's tiles, a far history that does not fit
// max_len, and a pool that cannot hold one history.
Result<PoolPlan> plan_pool(const EngineSpec& spec, const ModelShape& shape, StagingView view);

class KvPool {
 public:
  // For a mapped view the device must be able to map pages, a block must be whole pages, and the
  // mappings of all slots must fit at once; else the error says what does not.
  static Result<KvPool> make(const PoolPlan& plan, Device& device);

  // [pool_blocks, layout.block_bytes()]
  std::byte* layer(std::uint32_t index) const { return buffer_.data() + index * layer_bytes_; }
  // [slots, view_stride] of a layer; with StagingView::one_layer the same for each.
  const std::byte* view(std::uint32_t layer) const;
  // The same, to write to; not for a mapped view.
  std::byte* writable_view() const { return view_.data(); }

  // Shows a group of blocks at its place in a slot's mapped view of every layer.
  Status map(SlotIndex slot, std::uint32_t logical, BlockIndex physical, std::uint32_t blocks);
  MapCounters map_counters() const;

 private:
  explicit KvPool(const PoolPlan& plan) : plan_(plan), layer_bytes_(plan.layer_bytes()) {}
  Status allocate(Device& device);
  Status allocate_mapped(Device& device);

  PoolPlan plan_;
  std::uint64_t layer_bytes_;
  Buffer buffer_;
  Buffer view_;
  PageMapper* mapper_ = nullptr;
  MappedView mapped_;
};

}  // namespace kvrm
