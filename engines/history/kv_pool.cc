#include "engines/history/kv_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

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
  const std::uint64_t affordable = budget / 2 / plan.view_stride;
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(affordable, 1, plan.slots));
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
                .token_bytes = shape.kv_bytes_per_token()};
  plan.max_blocks_per_history =
      static_cast<std::uint32_t>(divide_up(plan.max_length, plan.layout.block_tokens));
  const std::uint64_t budget = spec.budget.kv_bytes;
  if (view == StagingView::one_layer) {
    plan.view_stride = plan.max_blocks_per_history * plan.layout.block_bytes();
    plan.slots = slots_with_view(plan, budget);
  }
  const std::uint64_t left = budget - std::min(budget, plan.view_bytes());
  const std::uint64_t affordable = left / plan.block_bytes();
  if (affordable < plan.max_blocks_per_history) {
    const std::uint64_t history = plan.max_blocks_per_history * plan.block_bytes();
    return bad_input(fmt::format(
        "{}: a KV budget of {} leaves {} for the block pool{}; one history of max_len {} needs {}",
        spec.label, format_bytes(budget), format_bytes(left),
        view == StagingView::none
            ? ""
            : fmt::format(" after a staging view of {}", format_bytes(plan.view_bytes())),
        plan.max_length, format_bytes(history)));
  }
  const std::uint64_t useful = std::uint64_t{plan.slots} * plan.max_blocks_per_history;
  plan.pool_blocks = static_cast<std::uint32_t>(
      std::min<std::uint64_t>({affordable, useful, std::numeric_limits<std::uint32_t>::max() / 2}));
  return plan;
}

Result<KvPool> KvPool::make(const PoolPlan& plan, Device& device) {
  KvPool pool;
  pool.layer_bytes_ = plan.layout.block_bytes() * plan.pool_blocks;
  Result<Buffer> buffer = device.allocate(MemoryPurpose::kv_pool, plan.pool_bytes());
  if (!buffer) return tl::unexpected(buffer.error());
  pool.buffer_ = std::move(*buffer);
  if (plan.view_bytes() > 0) {
    Result<Buffer> view = device.allocate(MemoryPurpose::kv_view, plan.view_bytes());
    if (!view) return tl::unexpected(view.error());
    pool.view_ = std::move(*view);
  }
  return pool;
}

}  // namespace kvrm
