#include "engines/history/block_pager.h"

#include <algorithm>

#include "harness/base/units.h"

namespace kvrm {

BlockPager::BlockPager(const PagerSpec& spec)
    : spec_(spec),
      free_list_(make_free_list(spec.placement, spec.blocks)),
      references_(spec.blocks),
      histories_(spec.max_histories),
      tables_(std::size_t{spec.max_histories} * spec.max_blocks_per_history),
      unused_histories_(spec.max_histories),
      quarantine_(spec.blocks),
      released_(spec.blocks) {
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

PagerOutcome BlockPager::append_with_blocks(History& history, std::uint32_t tokens) {
  const std::uint64_t length = std::uint64_t{history.length} + tokens;
  const std::uint64_t blocks = divide_up(length, spec_.block_tokens);
  if (blocks > spec_.max_blocks_per_history) return PagerOutcome::too_long;
  const auto missing = static_cast<std::uint32_t>(blocks) - history.blocks;
  if (missing > free_list_->count()) {
    ++counters_.out_of_blocks;
    return PagerOutcome::out_of_blocks;
  }
  add_blocks(history, missing);
  history.length = static_cast<std::uint32_t>(length);
  live_tokens_ += tokens;
  return PagerOutcome::ok;
}

void BlockPager::add_blocks(History& history, std::uint32_t count) {
  BlockIndex* table = table_of(history);
  const BlockIndex last = history.blocks == 0 ? kNoBlock : table[history.blocks - 1];
  const std::span<BlockIndex> added(table + history.blocks, count);
  free_list_->take(last, added);
  BlockIndex previous = last;
  for (const BlockIndex block : added) {
    KVRM_CHECK_EQ(references_[block], 0U);
    references_[block] = 1;
    if (previous == kNoBlock || block != previous + 1) ++history.runs;
    previous = block;
  }
  history.blocks += count;
  history.capacity = history.blocks * spec_.block_tokens;
  counters_.blocks_taken += count;
}

PagerOutcome BlockPager::truncate(HistoryHandle handle, std::uint32_t length) {
  if (!is_open(handle)) return PagerOutcome::stale_handle;
  History& history = histories_[handle.index];
  KVRM_CHECK_LE(length, history.length);
  live_tokens_ -= history.length - length;
  history.length = length;
  drop_blocks_from(history, static_cast<std::uint32_t>(divide_up(length, spec_.block_tokens)));
  return PagerOutcome::ok;
}

PagerOutcome BlockPager::close(HistoryHandle handle) {
  if (!is_open(handle)) return PagerOutcome::stale_handle;
  History& history = histories_[handle.index];
  live_tokens_ -= history.length;
  history.length = 0;
  drop_blocks_from(history, 0);
  ++history.generation;
  unused_histories_.push_back(handle.index);
  return PagerOutcome::ok;
}

void BlockPager::drop_blocks_from(History& history, std::uint32_t first) {
  const BlockIndex* table = table_of(history);
  for (std::uint32_t i = first; i < history.blocks; ++i) {
    if (i == 0 || table[i] != table[i - 1] + 1) --history.runs;
  }
  give_back({table + first, table + history.blocks});
  history.blocks = first;
  history.capacity = first * spec_.block_tokens;
}

void BlockPager::give_back(std::span<const BlockIndex> blocks) {
  for (const BlockIndex block : blocks) {
    KVRM_CHECK_EQ(references_[block], 1U);
    references_[block] = 0;
  }
  counters_.blocks_given_back += blocks.size();
  if (begun_ == completed_) {
    free_list_->give(blocks);
    return;
  }
  counters_.blocks_quarantined += blocks.size();
  for (const BlockIndex block : blocks) {
    const std::uint64_t end = std::uint64_t{quarantine_begin_} + quarantine_size_;
    quarantine_[end % spec_.blocks] = {begun_, block};
    ++quarantine_size_;
  }
}

void BlockPager::begin_step(Epoch epoch) {
  KVRM_CHECK_LT(begun_, epoch);
  begun_ = epoch;
}

void BlockPager::complete_step(Epoch epoch) {
  KVRM_CHECK_LE(completed_, epoch);
  KVRM_CHECK_LE(epoch, begun_);
  completed_ = epoch;
  std::size_t count = 0;
  while (quarantine_size_ > 0 && quarantine_[quarantine_begin_].fence <= epoch) {
    released_[count++] = quarantine_[quarantine_begin_].block;
    quarantine_begin_ = (quarantine_begin_ + 1) % spec_.blocks;
    --quarantine_size_;
  }
  if (count > 0) free_list_->give(std::span(released_).first(count));
}

std::span<const BlockIndex> BlockPager::table(HistoryHandle handle) const {
  const History& history = get(handle);
  return std::span(tables_).subspan(std::size_t{handle.index} * spec_.max_blocks_per_history,
                                    history.blocks);
}

std::size_t BlockPager::bytes() const {
  return free_list_->bytes() + references_.size() * sizeof(std::uint32_t) +
         histories_.size() * sizeof(History) + tables_.size() * sizeof(BlockIndex) +
         quarantine_.size() * sizeof(Quarantined) + released_.size() * sizeof(BlockIndex);
}

std::string BlockPager::check_invariants() const {
  std::string broken = check_block_sets();
  return broken.empty() ? check_histories() : broken;
}

// Sets, not counts: a block in two places keeps every count right.
std::string BlockPager::check_block_sets() const {
  std::vector<std::uint32_t> places(spec_.blocks);
  std::vector<std::uint32_t> owners(spec_.blocks);
  const std::vector<BlockIndex> free = free_list_->list();
  if (free.size() != free_list_->count()) return "the free list's count is not its size";
  for (const BlockIndex block : free) ++places[block];
  for (std::uint32_t i = 0; i < quarantine_size_; ++i) {
    const Quarantined& entry = quarantine_[(std::uint64_t{quarantine_begin_} + i) % spec_.blocks];
    if (entry.fence <= completed_) return "a quarantined block has outlived its fence";
    ++places[entry.block];
  }
  for (std::size_t h = 0; h < histories_.size(); ++h) {
    for (std::uint32_t i = 0; i < histories_[h].blocks; ++i) {
      const BlockIndex block = tables_[h * spec_.max_blocks_per_history + i];
      ++places[block];
      ++owners[block];
    }
  }
  for (BlockIndex block = 0; block < spec_.blocks; ++block) {
    const std::string name = "block " + std::to_string(block);
    if (places[block] != 1) return name + " is in " + std::to_string(places[block]) + " sets";
    if (owners[block] != references_[block]) return name + " has a wrong reference count";
  }
  return {};
}

std::string BlockPager::check_histories() const {
  std::uint64_t tokens = 0;
  for (std::size_t h = 0; h < histories_.size(); ++h) {
    const History& history = histories_[h];
    const std::string name = "history " + std::to_string(h);
    if (history.generation % 2 == 0 && (history.blocks != 0 || history.length != 0)) {
      return name + " is closed and left something behind";
    }
    if (history.blocks != divide_up(history.length, spec_.block_tokens)) {
      return name + " has a table that does not fit its length";
    }
    if (history.capacity != history.blocks * spec_.block_tokens) return name + ": capacity";
    std::uint32_t runs = 0;
    const BlockIndex* table = tables_.data() + h * spec_.max_blocks_per_history;
    for (std::uint32_t i = 0; i < history.blocks; ++i) {
      runs += i == 0 || table[i] != table[i - 1] + 1 ? 1 : 0;
    }
    if (runs != history.runs) return name + " miscounts its runs";
    tokens += history.length;
  }
  return tokens == live_tokens_ ? std::string() : "live tokens do not add up";
}

}  // namespace kvrm
