#include "engines/history/pooled_histories.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engines/decoder/attention_work.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

FarHistoryRule far_rule(const EngineSpec& spec) {
  FarHistoryRule rule = spec.options.far_history;
  rule.block_tokens = spec.options.block_tokens;
  return rule;
}

PagerSpec pager_spec(const EngineSpec& spec, const PoolPlan& plan) {
  const bool far = spec.options.far_history.enabled;
  return {.blocks = plan.pool_blocks,
          .block_tokens = plan.layout.block_tokens,
          .max_histories = plan.slots * (far ? FarSlots::kHistoriesPerSlot : 1),
          .max_blocks_per_history = plan.max_blocks_per_history,
          .placement = spec.options.placement,
          .counts_generations = spec.options.transport == Transport::delta ||
                                spec.options.transport == Transport::remap,
          .compacts = spec.options.compaction_bytes_per_step > 0};
}

EngineInfo engine_info(const EngineSpec& spec, const PoolPlan& plan) {
  const FarHistoryRule rule = far_rule(spec);
  EngineInfo info{.kind = spec.kind,
                  .label = spec.label,
                  .slots = plan.slots,
                  .max_history_tokens = plan.max_length};
  info.exact = !rule.enabled;
  // A block that leaves the window must be its history's own.
  info.can_fork = !rule.enabled;
  if (rule.enabled) info.far_history = rule;
  return info;
}

}  // namespace

Result<PooledHistories> PooledHistories::make(const EngineSpec& spec, const PoolPlan& plan,
                                              const DecoderModel& model, const KernelSet& kernels,
                                              Device& device) {
  Result<KvPool> pool = KvPool::make(plan, device);
  if (!pool) return tl::unexpected(pool.error());
  Result<HistoryPrefill> prefill = HistoryPrefill::make(spec, plan, *pool, model, kernels, device);
  if (!prefill) return tl::unexpected(prefill.error());
  return PooledHistories(spec, plan, model.shape().tile_tokens, std::move(*pool),
                         std::move(*prefill));
}

PooledHistories::PooledHistories(const EngineSpec& spec, const PoolPlan& plan,
                                 std::uint32_t tile_tokens, KvPool pool, HistoryPrefill prefill)
    : info_(engine_info(spec, plan)),
      plan_(plan),
      pool_(std::move(pool)),
      pager_(std::make_unique<BlockPager>(pager_spec(spec, plan))),
      watermark_blocks_(static_cast<std::uint32_t>(
          std::ceil(spec.options.watermark * static_cast<double>(plan.pool_blocks)))),
      compaction_blocks_(static_cast<std::uint32_t>(std::min<std::uint64_t>(
          spec.options.compaction_bytes_per_step / plan.block_bytes(), plan.pool_blocks))),
      prefill_(std::move(prefill)),
      slots_(plan.slots) {
  if (spec.options.far_history.enabled) {
    far_.emplace(far_rule(spec), tile_tokens, plan.slots, *pager_);
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
  if (!take_memory(admission, slot)) {
    ++counters_.allocation_failures;
    return false;
  }
  slot.used = true;
  ++used_slots_;
  slot.content_key = admission.content_key;
  slot.prefix_key = admission.prefix_key;
  slot.prefix_tokens = admission.prefix_tokens;
  return true;
}

bool PooledHistories::take_memory(const Admission& admission, Slot& slot) {
  if (admission.fork_from) {
    if (!has_room_for(1)) return false;  // the block of its first own position
    fork(admission, slot);
    return true;
  }
  const std::uint64_t blocks = far_ ? far_->blocks_to_open(admission.token_count)
                                    : divide_up(admission.token_count, plan_.layout.block_tokens);
  if (!has_room_for(blocks)) return false;
  if (far_) {
    far_->open(admission.slot, admission.token_count);
  } else {
    slot.history = *pager_->open();
    KVRM_CHECK(pager_->append(slot.history, admission.token_count) == PagerOutcome::ok);
  }
  slot.prompt_tokens = admission.token_count;
  slot.computed = KVRM_MUTATE(pool_recompute_keeps_progress, 0U, slot.computed);
  slot.last_token = kNoToken;
  slot.tokens.assign(admission.tokens.begin(), admission.tokens.end());
  return true;
}

// The watermark keeps room for running requests to grow; where none runs it must not keep a
// request out that fits alone.
bool PooledHistories::has_room_for(std::uint64_t blocks) const {
  const std::uint64_t kept =
      KVRM_MUTATE(pool_watermark_without_others, used_slots_ > 0, true) ? watermark_blocks_ : 0;
  return blocks + kept + KVRM_MUTATE(pool_last_block_kept_back, 0U, 1U) <= pager_->free_blocks();
}

void PooledHistories::fork(const Admission& admission, Slot& slot) {
  const Slot& source = slots_[*admission.fork_from];
  const std::uint32_t shared = admission.token_count - 1;
  KVRM_CHECK(info_.can_fork && source.used && shared > 0);
  KVRM_CHECK_LE(source.prompt_tokens, source.computed);
  KVRM_CHECK_LE(shared, source.computed);
  slot.history = *pager_->fork(source.history, shared);
  slot.prompt_tokens = slot.computed = shared;
  slot.last_token = admission.tokens.empty() ? kNoToken : admission.tokens.back();
  slot.tokens.clear();
}

std::span<const RowResult> PooledHistories::prefill(const PrefillChunk& chunk) {
  Slot& slot = slots_[chunk.slot];
  KVRM_CHECK(slot.used);
  KVRM_CHECK_EQ(chunk.first, slot.computed);
  KVRM_CHECK_LE(chunk.count, slot.prompt_tokens - chunk.first);
  KVRM_CHECK_EQ(chunk.last, chunk.first + chunk.count == slot.prompt_tokens);
  const RowResult result = far_ ? prefill_far(slot, chunk) : prefill_plain(slot, chunk);
  slot.computed += chunk.count;
  if (!chunk.last) return {};
  slot.last_token = result.token;
  prefill_result_ = result;
  prefill_result_.slot = chunk.slot;
  return {&prefill_result_, 1};
}

Prefill::Chunk PooledHistories::piece_of(const Slot& slot, std::uint32_t first,
                                         std::uint32_t count) const {
  const std::span<const TokenId> tokens(slot.tokens);
  return {.first = first,
          .count = count,
          .last = first + count == slot.prompt_tokens,
          .history = 0,
          .content_key = slot.content_key,
          .prefix_key = slot.prefix_key,
          .prefix_tokens = slot.prefix_tokens,
          .tokens = tokens.empty() ? tokens : tokens.subspan(first, count),
          .write_slot = [this, &slot](std::uint32_t p) { return write_slot(slot, p); },
          .view = {}};
}

RowResult PooledHistories::prefill_plain(const Slot& slot, const PrefillChunk& chunk) {
  return prefill_.run(piece_of(slot, chunk.first, chunk.count), pager_->table(slot.history));
}

// Piece by piece, so that every row of a piece sees the same entries.
RowResult PooledHistories::prefill_far(const Slot& slot, const PrefillChunk& chunk) {
  const SlotIndex index = index_of(slot);
  std::vector<FarBias> biases;
  list_far_biases(index, biases);
  prefill_.begin_chunk(biases);
  RowResult result;
  const std::uint32_t end = chunk.first + chunk.count;
  for (std::uint32_t first = chunk.first; first < end;) {
    // One block a query: what is due before `first` ends where the next one becomes due.
    const std::uint32_t due = far_->next_due(index);
    const std::uint32_t until = first < due ? due : due + plan_.layout.block_tokens;
    const std::uint32_t last = std::min(end, until) - 1;
    far_changes_.clear();
    // A block that leaves makes room for the next one at once, also where the chunk ends before it:
    // nobody else may get it before the rest of the prompt is prefilled.
    far_->advance(index, first, std::min(slot.prompt_tokens, until) - 1, far_changes_);
    counters_.far_summaries += far_changes_.summaries();
    counters_.far_merges += far_changes_.merges();
    prefill_.update(far_changes_);
    Prefill::Chunk piece = piece_of(slot, first, last + 1 - first);
    piece.view = [this, index](std::uint32_t position) {
      const FarView view = far_->view(index, position);
      return RowView{.length = view.length, .far = view.span};
    };
    result = prefill_.run(piece, far_->table(index));
    first = last + 1;
  }
  far_changes_.clear();
  return result;
}

bool PooledHistories::extend(SlotIndex index) {
  Slot& slot = slots_[index];
  KVRM_CHECK(slot.used && slot.computed >= slot.prompt_tokens);
  KVRM_CHECK_EQ(length(index), slot.computed);
  KVRM_CHECK_LT(slot.computed, plan_.max_length);
  const bool extended =
      far_ ? far_->extend(index) : pager_->append(slot.history, 1) == PagerOutcome::ok;
  counters_.allocation_failures += extended ? 0 : 1;
  return extended;
}

void PooledHistories::release(SlotIndex index) {
  Slot& slot = slots_[index];
  if (!slot.used) return;
  if (far_) {
    far_->close(index);
  } else {
    KVRM_CHECK(pager_->close(slot.history) == PagerOutcome::ok);
  }
  slot.used = false;
  --used_slots_;
}

void PooledHistories::begin_step(const StepPlan& step, std::uint32_t rows) {
  KVRM_CHECK_LE(step.slots.size(), rows);
  pager_->begin_step(++steps_);
  far_changes_.clear();
  for (const SlotIndex index : step.slots) {
    Slot& slot = slots_[index];
    KVRM_CHECK(slot.used);
    KVRM_CHECK_EQ(length(index), slot.computed + 1);
    slot.computed += 1;
    if (far_) advance_far(index);
    count_row(index);
  }
  if (compaction_blocks_ > 0) compact(step.slots);
  counters_.rows += rows;
  counters_.padding_rows += rows - step.slots.size();
  counters_.history_blocks += pager_->table_blocks();
  const SizeHistogram& runs = pager_->runs_by_blocks();
  for (std::size_t i = 0; i < runs.size(); ++i) runs_by_blocks_[i] += runs[i];
}

// The blocks that entries and updates name are those before compaction, whose copies come after.
void PooledHistories::advance_far(SlotIndex index) {
  const std::uint32_t position = slots_[index].computed - 1;
  const std::uint64_t summaries = far_changes_.summaries();
  const std::uint64_t merges = far_changes_.merges();
  far_->advance(index, position, position, far_changes_);
  counters_.far_summaries += far_changes_.summaries() - summaries;
  counters_.far_merges += far_changes_.merges() - merges;
}

void PooledHistories::compact(std::span<const SlotIndex> slots) {
  pager_->compact(compaction_blocks_);
  if (!far_) return;
  for (const SlotIndex slot : slots) far_->settle(slot, slots_[slot].computed - 1);
}

void PooledHistories::count_row(SlotIndex index) {
  const std::uint32_t computed = slots_[index].computed;
  FarView view{.length = computed};
  if (far_) view = far_->view(index, computed - 1);
  const AttentionWork work = attention_work(view.length, 0, plan_.layout.lane_tokens(), view.span);
  counters_.attended_positions += work.attended;
  counters_.masked_positions += work.masked;
  counters_.kv_read_bytes += work.attended * plan_.token_bytes;
}

DecodeRow PooledHistories::decode_row(SlotIndex index) const {
  const Slot& slot = slots_[index];
  const std::uint32_t position = slot.computed - 1;
  DecodeRow row{.token = slot.last_token,
                .position = position,
                .length = slot.computed,
                .write_slot = write_slot(slot, position),
                .content_key = slot.content_key};
  if (far_) {
    const FarView view = far_->view(index, position);
    row.length = view.length;
    row.far = view.span;
  }
  return row;
}

DecodeRow PooledHistories::next_row(SlotIndex index) const {
  const Slot& slot = slots_[index];
  KVRM_CHECK_EQ(length(index), slot.computed + 1);
  return {.token = kNoToken,
          .position = slot.computed,
          .length = slot.computed + 1,
          .write_slot = write_slot(slot, slot.computed),
          .content_key = slot.content_key};
}

void PooledHistories::finish_step(std::span<const RowResult> rows) {
  for (const RowResult& row : rows) slots_[row.slot].last_token = row.token;
  pager_->complete_step(steps_);
}

std::uint32_t PooledHistories::length(SlotIndex slot) const {
  return far_ ? far_->positions(slot) : pager_->length(slots_[slot].history);
}

std::span<const BlockIndex> PooledHistories::table(SlotIndex slot) const {
  return far_ ? far_->table(slot) : pager_->table(slots_[slot].history);
}

std::uint32_t PooledHistories::run_count(SlotIndex slot) const {
  return far_ ? far_->run_count(slot) : pager_->run_count(slots_[slot].history);
}

std::uint64_t PooledHistories::table_version(SlotIndex slot) const {
  return far_ ? far_->version(slot) : pager_->version(slots_[slot].history);
}

std::uint64_t PooledHistories::write_slot(const Slot& slot, std::uint32_t position) const {
  if (far_) return far_->write_slot(index_of(slot), position);
  const std::uint32_t block_tokens = plan_.layout.block_tokens;
  const BlockIndex block = pager_->table(slot.history)[position / block_tokens];
  return std::uint64_t{block} * block_tokens + position % block_tokens;
}

EngineCounters PooledHistories::counters() const {
  EngineCounters counters = counters_;
  const PagerCounters pager = pager_->counters();
  counters.forks = pager.forks;
  counters.copy_on_writes = pager.copy_on_writes;
  counters.compacted_blocks = pager.compacted_blocks;
  const MapCounters maps = pool_.map_counters();
  counters.map_calls = maps.calls;
  counters.mapped_bytes = maps.bytes;
  return counters;
}

MemoryUsage PooledHistories::memory() const {
  return {.reserved_bytes =
              plan_.pool_bytes() + KVRM_MUTATE(pool_view_unreserved, plan_.view_bytes(), 0U),
          .allocated_bytes = pager_->live_blocks() * plan_.block_bytes(),
          .live_bytes = pager_->live_tokens() * plan_.token_bytes,
          .staging_bytes = plan_.view_bytes(),
          .graph_bytes = 0,
          .metadata_bytes = pager_->bytes() + prefill_.bytes() + (far_ ? far_->bytes() : 0)};
}

}  // namespace kvrm
