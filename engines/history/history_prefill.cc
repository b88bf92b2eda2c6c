#include "engines/history/history_prefill.h"

#include <algorithm>
#include <utility>

#include "harness/base/check.h"

namespace kvrm {
namespace {

// A piece makes at most one block an entry, after at most one merge.
constexpr std::uint32_t kMaxUpdates = 2;
constexpr std::size_t kListOffset = 64;

}  // namespace

Result<HistoryPrefill> HistoryPrefill::make(const EngineSpec& spec, const PoolPlan& plan,
                                            const KvPool& pool, const DecoderModel& model,
                                            const KernelSet& kernels, Device& device) {
  Result<Prefill> prefill =
      Prefill::make(model, kernels, device, Prefill::rows_for_budget(spec.budget.prefill_tokens));
  if (!prefill) return tl::unexpected(prefill.error());
  HistoryPrefill result(std::move(*prefill), kernels, device);
  if (Status allocated = result.allocate(plan); !allocated) {
    return tl::unexpected(allocated.error());
  }
  result.set_layers(spec, plan, pool);
  return result;
}

Status HistoryPrefill::allocate(const PoolPlan& plan) {
  const std::size_t entries = plan.max_blocks_per_history;
  const std::pair<Buffer*, std::size_t> wanted[] = {
      {&table_, entries * sizeof(BlockIndex)},
      {&biases_, entries * sizeof(float)},
      {&updates_, kListOffset + kMaxUpdates * sizeof(FarUpdate)}};
  for (const auto& [buffer, bytes] : wanted) {
    Result<Buffer> made = device_->allocate(MemoryPurpose::metadata, bytes);
    if (!made) return tl::unexpected(made.error());
    *buffer = std::move(*made);
  }
  return {};
}

void HistoryPrefill::set_layers(const EngineSpec& spec, const PoolPlan& plan, const KvPool& pool) {
  KvSource source{.addressing = KvAddressing::table,
                  .prefetch_runs = spec.options.prefetch == Prefetch::run ? 1U : 0U,
                  .block_table = table_.as<BlockIndex>().data(),
                  .table_stride = plan.max_blocks_per_history,
                  .far_bias_stride = plan.max_blocks_per_history,
                  .far_bias = biases_.as<float>().data()};
  for (std::uint32_t layer = 0; layer < plan.layers; ++layer) {
    source.base = pool.layer(layer);
    layers_.push_back({.layout = plan.layout, .write_pool = pool.layer(layer), .source = source});
  }
  update_args_.layout = plan.layout;
  update_args_.layer_bytes = plan.layer_bytes();
  update_args_.pool = pool.layer(0);
  update_args_.updates = reinterpret_cast<const FarUpdate*>(updates_.data() + kListOffset);
  update_args_.count = updates_.as<std::uint32_t>().data();
  update_items_ = plan.layers * plan.layout.kv_heads;
}

void HistoryPrefill::begin_chunk(std::span<const FarBias> biases) {
  std::ranges::fill(biases_.as<float>(), 0.0F);
  for (const FarBias& entry : biases) biases_.as<float>()[entry.entry] = entry.bias;
}

void HistoryPrefill::update(const FarChanges& changes) {
  if (changes.updates.empty()) return;
  KVRM_CHECK_LE(changes.updates.size(), kMaxUpdates);
  std::ranges::copy(changes.updates, reinterpret_cast<FarUpdate*>(updates_.data() + kListOffset));
  updates_.as<std::uint32_t>()[0] = static_cast<std::uint32_t>(changes.updates.size());
  for (const FarBias& entry : changes.biases) biases_.as<float>()[entry.entry] = entry.bias;
  device_->launch({.kernel = far_update_,
                   .args = &update_args_,
                   .args_bytes = sizeof(update_args_),
                   .items = update_items_});
  device_->wait();
}

RowResult HistoryPrefill::run(const Prefill::Chunk& chunk, std::span<const BlockIndex> table) {
  const std::span<BlockIndex> row = table_.as<BlockIndex>();
  std::ranges::copy(table, row.begin());
  std::fill(row.begin() + static_cast<std::ptrdiff_t>(table.size()), row.end(), 0);
  return prefill_.run(chunk, layers_);
}

}  // namespace kvrm
