#include "engines/history/kv_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "engines/history/far_history.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

Status check_options(const EngineSpec& spec, const ModelShape& shape) {
  const std::uint32_t block = spec.options.block_tokens;
  if (!is_block_tokens(block)) {
    return bad_input(fmt::format("{}: block_tokens is {}, must be {} or a multiple of {}",
                                 spec.label, block, kSmallBlockTokens, kLaneTokens));
  }
  if (block % shape.tile_tokens != 0 && shape.tile_tokens % block != 0) {
    return bad_input(
        fmt::format("{}: block_tokens {} neither divides model.tile_tokens {} nor is divided by it",
                    spec.label, block, shape.tile_tokens));
  }
  if (spec.options.watermark < 0 || spec.options.watermark >= 1) {
    return bad_input(fmt::format("{}: watermark is {}, must be at least 0 and below 1", spec.label,
                                 spec.options.watermark));
  }
  const Budget& budget = spec.budget;
  if (budget.max_batch == 0 || budget.max_len == 0 || budget.max_len > shape.max_len) {
    return bad_input(fmt::format(
        "{}: budget of {} slots and {} positions; at least 1 of each, at most {} positions",
        spec.label, budget.max_batch, budget.max_len, shape.max_len));
  }
  return {};
}

// The view takes at most half of the budget, so that what it can stage and what the pool can hold
// stay in proportion; a batch that needs more gets fewer slots, as `static` does. At least one.
std::uint32_t slots_with_view(const PoolPlan& plan, std::uint64_t budget) {
  if (plan.view_slot_bytes() == 0) return plan.slots;
  const std::uint64_t affordable = budget / 2 / plan.view_slot_bytes();
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(affordable, 1, plan.slots));
}

// A far history bounds what a history holds, but what attention reads must fit the same tables as
// without it.
Status plan_far_history(const EngineSpec& spec, const ModelShape& shape, PoolPlan& plan) {
  FarHistoryRule rule = spec.options.far_history;
  if (!rule.enabled) return {};
  rule.block_tokens = plan.layout.block_tokens;
  if (Status valid = check_far_history(rule, plan.layout, spec.label); !valid) return valid;
  const std::uint32_t longest = far_length_max(rule, shape.tile_tokens, plan.max_length);
  if (divide_up(longest, plan.layout.block_tokens) > plan.max_blocks_per_history) {
    return bad_input(fmt::format(
        "{}: far_history makes histories of up to {} positions (sinks, summaries, window), more "
        "than budget.max_len, {}: it would save nothing",
        spec.label, longest, plan.max_length));
  }
  plan.history_blocks = far_blocks_needed(rule, plan.max_length, 0).total();
  return {};
}

Status too_small(const EngineSpec& spec, const PoolPlan& plan, std::uint64_t left) {
  return bad_input(fmt::format(
      "{}: a KV budget of {} leaves {} for the block pool{}; one history of max_len {} needs {}",
      spec.label, format_bytes(spec.budget.kv_bytes), format_bytes(left),
      plan.view_bytes() == 0
          ? ""
          : fmt::format(" after a staging view of {}", format_bytes(plan.view_bytes())),
      plan.max_length, format_bytes(plan.history_blocks * plan.block_bytes())));
}

}  // namespace

Result<PoolPlan> plan_pool(const EngineSpec& spec, const ModelShape& shape, StagingView view) {
  const Status options = check_options(spec, shape);
  if (!options) return tl::unexpected(options.error());
  PoolPlan plan{.layout = {.dtype = shape.kv_dtype,
                           .kv_heads = shape.kv_heads,
                           .head_dim = shape.head_dim,
                           .block_tokens = spec.options.block_tokens},
                .layers = shape.layers,
                .slots = spec.budget.max_batch,
                .max_length = spec.budget.max_len,
                .view = view,
                .pages = spec.options.pages,
                .token_bytes = shape.kv_bytes_per_token()};
  plan.max_blocks_per_history =
      static_cast<std::uint32_t>(divide_up(plan.max_length, plan.layout.block_tokens));
  plan.history_blocks = plan.max_blocks_per_history;
  if (Status far = plan_far_history(spec, shape, plan); !far) return tl::unexpected(far.error());
  if (view != StagingView::none) {
    plan.view_stride = plan.max_blocks_per_history * plan.layout.block_bytes();
    plan.slots = slots_with_view(plan, spec.budget.kv_bytes);
  }
  const std::uint64_t left =
      spec.budget.kv_bytes - std::min(spec.budget.kv_bytes, plan.view_bytes());
  const std::uint64_t affordable = left / plan.block_bytes();
  if (affordable < plan.history_blocks) {
    return tl::unexpected(too_small(spec, plan, left).error());
  }
  // As without far history, so that kernels are launched with the same arguments, unless short
  // histories take more with it than without.
  const std::uint64_t useful =
      std::uint64_t{plan.slots} * std::max(plan.history_blocks, plan.max_blocks_per_history);
  plan.pool_blocks = static_cast<std::uint32_t>(
      std::min<std::uint64_t>({affordable, useful, std::numeric_limits<std::uint32_t>::max() / 2}));
  return plan;
}

Result<KvPool> KvPool::make(const PoolPlan& plan, Device& device) {
  KvPool pool(plan);
  const Status allocated =
      plan.view == StagingView::mapped ? pool.allocate_mapped(device) : pool.allocate(device);
  if (!allocated) return tl::unexpected(allocated.error());
  return pool;
}

Status KvPool::allocate(Device& device) {
  const MemoryPages pages =
      plan_.pages == PoolPages::base ? MemoryPages::base : MemoryPages::preferred;
  Result<Buffer> buffer = device.allocate(
      {.purpose = MemoryPurpose::kv_pool, .bytes = plan_.pool_bytes(), .pages = pages});
  if (!buffer) return tl::unexpected(buffer.error());
  buffer_ = std::move(*buffer);
  if (plan_.view_bytes() == 0) return {};
  Result<Buffer> view = device.allocate(
      {.purpose = MemoryPurpose::kv_view, .bytes = plan_.view_bytes(), .pages = pages});
  if (!view) return tl::unexpected(view.error());
  view_ = std::move(*view);
  return {};
}

Status KvPool::allocate_mapped(Device& device) {
  mapper_ = device.page_mapper();
  if (mapper_ == nullptr) {
    return bad_input("transport remap: this backend cannot map pages into views");
  }
  const std::uint64_t block = plan_.layout.block_bytes();
  if (block % mapper_->page_bytes() != 0) {
    return bad_input(
        fmt::format("transport remap: a block takes {} in a layer, which is not whole pages of {}",
                    format_bytes(block), format_bytes(mapper_->page_bytes())));
  }
  // At worst every block of every view is a mapping of its own.
  const std::uint64_t spans =
      std::uint64_t{plan_.layers} * plan_.slots * plan_.max_blocks_per_history;
  if (Status fits = mapper_->check_spans(spans); !fits) return fits;
  Result<Buffer> buffer = mapper_->allocate_pool(plan_.pool_bytes());
  if (!buffer) return tl::unexpected(buffer.error());
  buffer_ = std::move(*buffer);
  Result<MappedView> view = mapper_->reserve_view(plan_.view_layer_bytes() * plan_.layers);
  if (!view) return tl::unexpected(view.error());
  mapped_ = std::move(*view);
  return {};
}

const std::byte* KvPool::view(std::uint32_t layer) const {
  switch (plan_.view) {
    case StagingView::none:
      return nullptr;
    case StagingView::one_layer:
      return view_.data();
    case StagingView::every_layer:
      return view_.data() + layer * plan_.view_layer_bytes();
    case StagingView::mapped:
      return mapped_.data() + layer * plan_.view_layer_bytes();
  }
  return nullptr;
}

Status KvPool::map(SlotIndex slot, std::uint32_t logical, BlockIndex physical,
                   std::uint32_t blocks) {
  const std::uint64_t block = plan_.layout.block_bytes();
  for (std::uint64_t layer = 0; layer < plan_.layers; ++layer) {
    const MapSpan span{.view_offset = layer * plan_.view_layer_bytes() + slot * plan_.view_stride +
                                      logical * block,
                       .pool_offset = layer * layer_bytes_ + physical * block,
                       .bytes = blocks * block};
    if (Status mapped = mapped_.map(buffer_, span); !mapped) return mapped;
  }
  return {};
}

MapCounters KvPool::map_counters() const {
  return mapper_ == nullptr ? MapCounters() : mapper_->counters();
}

}  // namespace kvrm
