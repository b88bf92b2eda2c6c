#include "engines/history/block_pager.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kMaxLength = std::numeric_limits<std::uint32_t>::max();

}  // namespace

BlockPager::BlockPager(const PagerSpec& spec)
    : spec_(spec),
      pool_({.blocks = spec.blocks,
             .placement = spec.placement,
             .counts_generations = spec.counts_generations,
             .moves_runs = spec.compacts}),
      tables_(spec.max_histories, spec.max_blocks_per_history),
      histories_(spec.max_histories),
      unused_histories_(spec.max_histories) {
  KVRM_CHECK(spec.block_tokens > 0);
  for (std::uint32_t i = 0; i < spec.max_histories; ++i) {
    unused_histories_[i] = spec.max_histories - 1 - i;
  }
}

std::optional<HistoryHandle> BlockPager::open() {
  if (unused_histories_.empty()) return std::nullopt;
  const std::uint32_t index = unused_histories_.back();
  unused_histories_.pop_back();
  History& history = histories_[index];
  ++history.generation;
  return HistoryHandle{index, history.generation};
}

std::optional<HistoryHandle> BlockPager::fork(HistoryHandle handle, std::uint32_t length) {
  if (!is_open(handle)) return std::nullopt;
  const History& parent = histories_[handle.index];
  KVRM_CHECK_LE(length, parent.length);
  KVRM_CHECK_LE(std::uint64_t{parent.trimmed} * spec_.block_tokens, length);
  const std::optional<HistoryHandle> child = open();
  if (!child) return std::nullopt;
  const auto count = blocks_for(length) - parent.trimmed;
  tables_.copy(handle.index, child->index, count);
  for (const BlockIndex block : tables_.blocks(child->index)) pool_.share(block);
  History& history = histories_[child->index];
  history.length = length;
  history.trimmed = parent.trimmed;
  if (unfilled(child->index) > 0) {
    const bool in_tail = count == tables_.size(handle.index);
    keep_counting(tail(child->index), in_tail ? tail_tokens(handle.index) : spec_.block_tokens);
  }
  refresh_tail(child->index);
  refresh_tail(handle.index);
  ++counters_.forks;
  return child;
}

PagerOutcome BlockPager::append_slowly(std::uint32_t index, std::uint32_t tokens) {
  const std::uint64_t length = std::uint64_t{histories_[index].length} + tokens;
  if (length > kMaxLength) return PagerOutcome::too_long;
  const std::uint32_t room = unfilled(index);
  const std::uint32_t missing = tokens <= room ? 0 : blocks_for(tokens - room);
  const std::uint32_t most =
      spec_.max_blocks_per_history - KVRM_MUTATE(pager_last_block_of_row_refused, 0U, 1U);
  if (tables_.size(index) + std::uint64_t{missing} > most) return PagerOutcome::too_long;
  const bool copies_tail =
      room > 0 && pool_.owners(tail(index)) > KVRM_MUTATE(pager_writes_shared_tail, 1U, 2U);
  if (missing + KVRM_MUTATE(pager_cow_block_unreserved, copies_tail ? 1U : 0U, 0U) >
      pool_.free_blocks()) {
    ++counters_.out_of_blocks;
    return PagerOutcome::out_of_blocks;
  }
  if (copies_tail) copy_tail(index);
  if (room > 0) refresh_tail(index);
  if (missing > 0) add_blocks(index, missing);
  histories_[index].length = static_cast<std::uint32_t>(length);
  live_tokens_ += tokens;
  return PagerOutcome::ok;
}

// Others keep the old block, so nothing leaves; its positions in this history are held twice now.
void BlockPager::copy_tail(std::uint32_t index) {
  const BlockIndex shared = tail(index);
  tables_.drop_back(index, 1);
  add_blocks(index, 1);
  pool_.queue_copy(shared, tail(index));
  KVRM_CHECK_EQ(pool_.drop({&shared, 1}), 0U);
  live_tokens_ += KVRM_MUTATE(pager_cow_tokens_uncounted, tail_tokens(index), 0U);
  ++counters_.copy_on_writes;
}

void BlockPager::add_blocks(std::uint32_t index, std::uint32_t count) {
  const BlockIndex last = tables_.size(index) == 0 ? kNoBlock : tail(index);
  pool_.take(last, tables_.room(index, count));
  tables_.grow(index, count);
  refresh_capacity(index);
}

void BlockPager::refresh_capacity(std::uint32_t index) {
  histories_[index].capacity =
      static_cast<std::uint32_t>(std::min(positions_in_blocks(index), kMaxLength));
}

PagerOutcome BlockPager::truncate(HistoryHandle handle, std::uint32_t length) {
  if (!is_open(handle)) return PagerOutcome::stale_handle;
  const History& history = histories_[handle.index];
  KVRM_CHECK_LE(length, history.length);
  KVRM_CHECK_LE(std::uint64_t{history.trimmed} * spec_.block_tokens, length);
  shorten(handle.index, length);
  refresh_tail(handle.index);
  return PagerOutcome::ok;
}

void BlockPager::shorten(std::uint32_t index, std::uint32_t length) {
  History& history = histories_[index];
  const auto keep = KVRM_MUTATE(pager_truncate_keeps_full_tail, blocks_for(length),
                                length / spec_.block_tokens + 1) -
                    history.trimmed;
  if (keep < tables_.size(index)) {
    drop_blocks(index, keep);
    history.length = (history.trimmed + keep) * spec_.block_tokens;
  }
  if (length == history.length) return;
  const std::uint32_t counted = counted_tail_tokens(index);
  history.length = length;
  keep_counting(tail(index), counted);  // settled by refresh_tail() unless others hold the block
}

PagerOutcome BlockPager::trim_front(HistoryHandle handle, std::uint32_t blocks) {
  if (!is_open(handle)) return PagerOutcome::stale_handle;
  History& history = histories_[handle.index];
  KVRM_CHECK_LE(std::uint64_t{history.trimmed} + blocks, history.length / spec_.block_tokens);
  const std::span<const BlockIndex> leaving = tables_.blocks(handle.index).first(blocks);
  live_tokens_ -= std::uint64_t{pool_.drop(leaving)} * spec_.block_tokens;
  tables_.drop_front(handle.index, blocks);
  history.trimmed += KVRM_MUTATE(pager_trim_counts_one, blocks, std::min(blocks, 1U));
  return PagerOutcome::ok;
}

PagerOutcome BlockPager::close(HistoryHandle handle) {
  if (!is_open(handle)) return PagerOutcome::stale_handle;
  drop_blocks(handle.index, 0);
  histories_[handle.index] = {.generation =
                                  KVRM_MUTATE(pager_handle_generation_reused, handle.generation + 1,
                                              handle.generation - 1)};
  unused_histories_.push_back(handle.index);
  return PagerOutcome::ok;
}

void BlockPager::drop_blocks(std::uint32_t index, std::uint32_t keep) {
  const std::span<const BlockIndex> leaving = tables_.blocks(index).subspan(keep);
  if (leaving.empty()) return;
  const std::uint32_t tail_loss =
      pool_.owners(leaving.back()) == 1 ? spec_.block_tokens - counted_tail_tokens(index) : 0;
  live_tokens_ -= std::uint64_t{pool_.drop(leaving)} * spec_.block_tokens - tail_loss;
  tables_.drop_back(index, static_cast<std::uint32_t>(leaving.size()));
}

// After the last block, its fill or its owners changed.
void BlockPager::refresh_tail(std::uint32_t index) {
  refresh_capacity(index);
  if (tables_.size(index) == 0) return;
  const BlockIndex last = tail(index);
  if (pool_.owners(last) > 1) {
    if (unfilled(index) > 0) histories_[index].capacity = histories_[index].length;
    return;
  }
  live_tokens_ -= counted_tail_tokens(index) - tail_tokens(index);
  pool_.set_note(last, 0);
}

PagerCounters BlockPager::counters() const {
  PagerCounters counters = counters_;
  counters.blocks_taken = pool_.counters().blocks_taken;
  counters.blocks_given_back = pool_.counters().blocks_given_back;
  counters.blocks_quarantined = pool_.counters().blocks_quarantined;
  return counters;
}

std::size_t BlockPager::bytes() const {
  return pool_.bytes() + tables_.bytes() + histories_.size() * sizeof(History) +
         unused_histories_.capacity() * sizeof(std::uint32_t);
}

}  // namespace kvrm
