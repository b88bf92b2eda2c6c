#include "engines/history/pooled_histories.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engines/decoder/attention_work.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

PagerSpec pager_spec(const EngineSpec& spec, const PoolPlan& plan) {
  return {.blocks = plan.pool_blocks,
          .block_tokens = plan.layout.block_tokens,
          .max_histories = plan.slots,
          .max_blocks_per_history = plan.max_blocks_per_history,
          .placement = spec.options.placement};
}

}  // namespace

Result<PooledHistories> PooledHistories::make(const EngineSpec& spec, const PoolPlan& plan,
                                              const DecoderModel& model, const KernelSet& kernels,
                                              Device& device) {
  Result<KvPool> pool = KvPool::make(plan, device);
  if (!pool) return tl::unexpected(pool.error());
  Result<Prefill> prefill =
      Prefill::make(model, kernels, device, Prefill::rows_for_budget(spec.budget.prefill_tokens));
  if (!prefill) return tl::unexpected(prefill.error());
  Result<Buffer> table =
      device.allocate(MemoryPurpose::metadata, plan.max_blocks_per_history * sizeof(BlockIndex));
  if (!table) return tl::unexpected(table.error());
  return PooledHistories(spec, plan, std::move(*pool), std::move(*prefill), std::move(*table));
}

PooledHistories::PooledHistories(const EngineSpec& spec, const PoolPlan& plan, KvPool pool,
                                 Prefill prefill, Buffer prefill_table)
    : info_{.kind = spec.kind,
            .label = spec.label,
            .slots = plan.slots,
            .max_history_tokens = plan.max_length},
      plan_(plan),
      pool_(std::move(pool)),
      pager_(pager_spec(spec, plan)),
      watermark_blocks_(static_cast<std::uint32_t>(
          std::ceil(spec.options.watermark * static_cast<double>(plan.pool_blocks)))),
      prefill_(std::move(prefill)),
      prefill_table_(std::move(prefill_table)),
      slots_(plan.slots) {
  const KvSource source{.addressing = KvAddressing::table,
                        .prefetch_runs = spec.options.prefetch == Prefetch::run ? 1U : 0U,
                        .block_table = prefill_table_.as<BlockIndex>().data(),
                        .table_stride = plan.max_blocks_per_history};
  for (std::uint32_t layer = 0; layer < plan.layers; ++layer) {
    prefill_layers_.push_back(layer_kv(layer, source));
  }
}

LayerKv PooledHistories::layer_kv(std::uint32_t layer, KvSource source) const {
  if (source.base == nullptr) source.base = pool_.layer(layer);
  return {.layout = plan_.layout, .write_pool = pool_.layer(layer), .source = source};
}

bool PooledHistories::admit(const Admission& admission) {
  KVRM_CHECK_LT(admission.slot, slots_.size());
  Slot& slot = slots_[admission.slot];
  KVRM_CHECK(!slot.used);
  KVRM_CHECK(admission.token_count > 0 && admission.token_count <= plan_.max_length);
  const std::uint64_t blocks = divide_up(admission.token_count, plan_.layout.block_tokens);
  // The watermark keeps room for running requests to grow; where none runs it must not keep a
  // request out that fits alone.
  const std::uint64_t kept = pager_.open_histories() > 0 ? watermark_blocks_ : 0;
  if (blocks + kept > pager_.free_blocks()) {
    ++counters_.allocation_failures;
    return false;
  }
  slot.used = true;
  slot.history = *pager_.open();
  slot.prompt_tokens = admission.token_count;
  slot.computed = 0;
  slot.content_key = admission.content_key;
  slot.last_token = kNoToken;
  slot.tokens.assign(admission.tokens.begin(), admission.tokens.end());
  KVRM_CHECK(pager_.append(slot.history, admission.token_count) == PagerOutcome::ok);
  return true;
}

std::span<const RowResult> PooledHistories::prefill(const PrefillChunk& chunk) {
  Slot& slot = slots_[chunk.slot];
  KVRM_CHECK(slot.used);
  KVRM_CHECK_EQ(chunk.first, slot.computed);
  KVRM_CHECK_LE(chunk.count, slot.prompt_tokens - chunk.first);
  KVRM_CHECK_EQ(chunk.last, chunk.first + chunk.count == slot.prompt_tokens);
  const std::span<BlockIndex> row = prefill_table_.as<BlockIndex>();
  const std::span<const BlockIndex> blocks = pager_.table(slot.history);
  std::copy(blocks.begin(), blocks.end(), row.begin());
  std::fill(row.begin() + static_cast<std::ptrdiff_t>(blocks.size()), row.end(), 0);
  const std::span<const TokenId> tokens(slot.tokens);
  const RowResult result = prefill_.run(
      {.first = chunk.first,
       .count = chunk.count,
       .last = chunk.last,
       .history = 0,
       .content_key = slot.content_key,
       .tokens = tokens.empty() ? tokens : tokens.subspan(chunk.first, chunk.count),
       .write_slot = [&](std::uint32_t position) { return write_slot(slot, position); }},
      prefill_layers_);
  slot.computed += chunk.count;
  if (!chunk.last) return {};
  slot.last_token = result.token;
  prefill_result_ = result;
  prefill_result_.slot = chunk.slot;
  return {&prefill_result_, 1};
}

bool PooledHistories::extend(SlotIndex index) {
  Slot& slot = slots_[index];
  KVRM_CHECK(slot.used && slot.computed >= slot.prompt_tokens);
  KVRM_CHECK_EQ(pager_.length(slot.history), slot.computed);
  KVRM_CHECK_LT(slot.computed, plan_.max_length);
  const bool extended = pager_.append(slot.history, 1) == PagerOutcome::ok;
  counters_.allocation_failures += extended ? 0 : 1;
  return extended;
}

void PooledHistories::release(SlotIndex index) {
  Slot& slot = slots_[index];
  if (!slot.used) return;
  KVRM_CHECK(pager_.close(slot.history) == PagerOutcome::ok);
  slot.used = false;
}

void PooledHistories::begin_step(const StepPlan& step, std::uint32_t rows) {
  KVRM_CHECK_LE(step.slots.size(), rows);
  for (const SlotIndex index : step.slots) {
    Slot& slot = slots_[index];
    KVRM_CHECK(slot.used);
    KVRM_CHECK_EQ(pager_.length(slot.history), slot.computed + 1);
    slot.computed += 1;
    count_row(slot);
  }
  counters_.rows += rows;
  counters_.padding_rows += rows - step.slots.size();
  pager_.begin_step(++steps_);
}

void PooledHistories::count_row(const Slot& slot) {
  const AttentionWork work = attention_work(slot.computed, 0);
  counters_.attended_positions += work.attended;
  counters_.masked_positions += work.masked;
  counters_.kv_read_bytes += work.attended * plan_.token_bytes;
  counters_.blocks += pager_.table(slot.history).size();
  counters_.groups_minimum += pager_.run_count(slot.history);
}

DecodeRow PooledHistories::decode_row(SlotIndex index) const {
  const Slot& slot = slots_[index];
  return {.token = slot.last_token,
          .length = slot.computed,
          .write_slot = write_slot(slot, slot.computed - 1),
          .content_key = slot.content_key};
}

DecodeRow PooledHistories::next_row(SlotIndex index) const {
  const Slot& slot = slots_[index];
  KVRM_CHECK_EQ(pager_.length(slot.history), slot.computed + 1);
  return {.token = kNoToken,
          .length = slot.computed + 1,
          .write_slot = write_slot(slot, slot.computed),
          .content_key = slot.content_key};
}

void PooledHistories::finish_step(std::span<const RowResult> rows) {
  for (const RowResult& row : rows) slots_[row.slot].last_token = row.token;
  pager_.complete_step(steps_);
}

std::uint64_t PooledHistories::write_slot(const Slot& slot, std::uint32_t position) const {
  const std::uint32_t block_tokens = plan_.layout.block_tokens;
  const BlockIndex block = pager_.table(slot.history)[position / block_tokens];
  return std::uint64_t{block} * block_tokens + position % block_tokens;
}

MemoryUsage PooledHistories::memory() const {
  return {.reserved_bytes = plan_.pool_bytes() + plan_.view_bytes(),
          .allocated_bytes = pager_.live_blocks() * plan_.block_bytes(),
          .live_bytes = pager_.live_tokens() * plan_.token_bytes,
          .staging_bytes = plan_.view_bytes(),
          .graph_bytes = 0,
          .metadata_bytes = pager_.bytes() + prefill_table_.bytes()};
}

}  // namespace kvrm
