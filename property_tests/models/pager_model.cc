#include "property_tests/models/pager_model.h"

#include <rapidcheck.h>

#include <algorithm>
#include <ostream>

namespace kvrm::pager_model {
namespace {

constexpr std::uint64_t kPoison = ~std::uint64_t{0};
constexpr Epoch kMostInFlight = 3;

bool is_ok(PagerOutcome outcome) { return outcome == PagerOutcome::ok; }

}  // namespace

PagerModel::PagerModel(const PagerSpec& spec, Coverage& coverage)
    : spec_(spec),
      pager_(spec),
      coverage_(coverage),
      handed_out_(spec.blocks),
      memory_(spec.blocks, std::vector<std::uint64_t>(spec.block_tokens, kPoison)) {
  for (BlockIndex block = 0; block < spec.blocks; ++block) free_.insert(block);
}

void PagerModel::scramble(const std::vector<std::uint32_t>& draws) {
  for (std::uint32_t i = 0; i < spec_.max_histories; ++i) run({Kind::open, 0, 0});
  for (const std::uint32_t draw : draws) run({Kind::append, draw, spec_.block_tokens - 1});
  for (const std::uint32_t draw : draws) run({Kind::close, draw, 0});
}

void PagerModel::run(const Operation& operation) {
  const auto [kind, draw, amount] = operation;
  if (kind == Kind::open) open();
  if (kind == Kind::compact && spec_.compacts) compact(1 + amount % 20);
  if (kind == Kind::step && begun_ < completed_ + kMostInFlight) step(draw % 2 == 0);
  if (kind == Kind::complete && completed_ < begun_) complete(draw % 2 == 0);
  if (kind == Kind::use_stale && !stale_.empty()) use_stale(draw, amount);
  if (!histories_.empty()) {
    const std::uint32_t name = choose(draw);
    History& history = histories_.at(name);
    if (kind == Kind::append) append(history, 1 + amount);
    if (kind == Kind::write_now) write_now(history);
    if (kind == Kind::fork) fork(history, amount);
    if (kind == Kind::truncate) truncate(history, amount);
    if (kind == Kind::trim_front) trim_front(history, amount);
    if (kind == Kind::close) close(name);
  }
  compare();
}

// Often one whose last block waits for its copy, where there is one: chance alone seldom finds it.
std::uint32_t PagerModel::choose(std::uint32_t draw) const {
  if (draw % 4 == 0) {
    for (const auto& [name, history] : histories_) {
      if (!history.table.empty() && copies_.contains(history.table.back())) return name;
    }
  }
  return std::next(histories_.begin(), static_cast<std::ptrdiff_t>(draw % histories_.size()))
      ->first;
}

void PagerModel::finish() {
  while (!histories_.empty()) close(histories_.begin()->first);
  step(false);
  complete(true);
  compare();
  RC_ASSERT(pager_.free_blocks() == spec_.blocks);
  RC_ASSERT(pager_.live_tokens() == 0U);
  RC_ASSERT(pager_.open_histories() == 0U);
  RC_ASSERT(pager_.counters().blocks_taken == pager_.counters().blocks_given_back);
}

void PagerModel::open() {
  const auto handle = pager_.open();
  RC_ASSERT(handle.has_value() == (histories_.size() < spec_.max_histories));
  if (!handle) return;
  histories_[opened_++] = {.handle = *handle, .version = pager_.version(*handle)};
}

void PagerModel::append(History& history, std::uint32_t tokens) {
  const std::uint32_t block_tokens = spec_.block_tokens;
  const auto size = static_cast<std::uint32_t>(history.table.size());
  const std::uint32_t room = (history.trimmed + size) * block_tokens - history.length;
  const std::uint32_t blocks = (history.length + tokens + block_tokens - 1) / block_tokens;
  const std::uint32_t missing = blocks - history.trimmed - size;
  const bool copies_tail = room > 0 && owners(history.table.back()) > 1;
  PagerOutcome expected = PagerOutcome::ok;
  if (size + missing > spec_.max_blocks_per_history) {
    expected = PagerOutcome::too_long;
  } else if (missing + (copies_tail ? 1 : 0) > free_.size()) {
    expected = PagerOutcome::out_of_blocks;
  }
  RC_ASSERT((pager_.append(history.handle, tokens) == expected));
  coverage_.count("too long", expected == PagerOutcome::too_long);
  if (expected == PagerOutcome::out_of_blocks) {
    ++expected_.out_of_blocks;
    coverage_.count(quarantine_.empty() ? "exhausted" : "exhausted by quarantine");
    coverage_.count("exhausted by a copy on write", copies_tail && missing <= free_.size());
  }
  if (is_ok(expected)) accept_append(history, tokens, copies_tail);
}

void PagerModel::accept_append(History& history, std::uint32_t tokens, bool copies_tail) {
  const std::span<const BlockIndex> table = pager_.table(history.handle);
  const std::size_t size = history.table.size();
  RC_ASSERT(table.size() >= size);
  const std::vector<BlockIndex> added(table.begin() + static_cast<std::ptrdiff_t>(size),
                                      table.end());
  if (copies_tail) accept_copy_on_write(history, table[size - 1]);
  for (const BlockIndex block : added) {
    take(block);
    history.table.push_back(block);
  }
  history.length += tokens;
  while (history.content.size() < history.length) history.content.push_back(next_value_++);
}

void PagerModel::accept_copy_on_write(History& history, BlockIndex fresh) {
  const BlockIndex shared = history.table.back();
  take(fresh);
  history.table.back() = fresh;
  history.entries_changed = true;
  const auto waiting = copies_.find(shared);
  coverage_.count("copy on write of a block that waits for its copy", waiting != copies_.end());
  copies_[fresh] = waiting == copies_.end() ? shared : waiting->second;
  drop({shared});
  ++expected_.copy_on_writes;
  coverage_.count("copy on write by a fork", history.is_fork);
  coverage_.count("copy on write by a forked history", history.was_forked && !history.is_fork);
}

// Only where no queued copy has to come first.
void PagerModel::write_now(History& history) {
  for (std::uint32_t at = history.written; at < history.length; ++at) {
    const BlockIndex block = block_at(history, at);
    if (copies_.contains(block) || is_source(block)) return;
  }
  coverage_.count("write beside queued copies",
                  !copies_.empty() && history.written < history.length);
  write_pending(history);
}

void PagerModel::fork(History& history, std::uint32_t amount) {
  const std::uint32_t least = history.trimmed * spec_.block_tokens;
  if (history.written < least) return;
  // As often as not all that is written, which is where tails are shared.
  const std::uint32_t length =
      amount % 2 == 0 ? history.written : least + amount % (history.written - least + 1);
  const auto child = pager_.fork(history.handle, length);
  RC_ASSERT(child.has_value() == (histories_.size() < spec_.max_histories));
  coverage_.count("fork without a history left", !child);
  if (!child) return;
  const std::uint32_t blocks = (length + spec_.block_tokens - 1) / spec_.block_tokens;
  const auto shared = static_cast<std::ptrdiff_t>(blocks - history.trimmed);
  history.was_forked = true;
  histories_[opened_++] = {.handle = *child,
                           .length = length,
                           .trimmed = history.trimmed,
                           .written = length,
                           .content = {history.content.begin(), history.content.begin() + length},
                           .table = {history.table.begin(), history.table.begin() + shared},
                           .version = pager_.version(*child),
                           .is_fork = true};
  ++expected_.forks;
  coverage_.count("fork");
  coverage_.count("fork of a trimmed history", history.trimmed > 0);
  coverage_.count("fork of a shorter prefix", length < history.length);
}

void PagerModel::truncate(History& history, std::uint32_t amount) {
  const std::uint32_t most = history.length - history.trimmed * spec_.block_tokens;
  const std::uint32_t length = history.length - amount % (most + 1) / (amount % 3 + 1);
  RC_ASSERT(is_ok(pager_.truncate(history.handle, length)));
  const std::uint32_t blocks = (length + spec_.block_tokens - 1) / spec_.block_tokens;
  const auto keep = static_cast<std::ptrdiff_t>(blocks - history.trimmed);
  const std::vector<BlockIndex> leaving(history.table.begin() + keep, history.table.end());
  history.table.resize(static_cast<std::size_t>(keep));
  history.entries_changed = !leaving.empty();
  history.length = length;
  history.written = std::min(history.written, length);
  history.content.resize(length);
  const bool in_block = length % spec_.block_tokens != 0;
  coverage_.count("truncate into a shared block", in_block && owners(history.table.back()) > 1);
  drop(leaving);
}

void PagerModel::trim_front(History& history, std::uint32_t amount) {
  const std::uint32_t full = history.length / spec_.block_tokens - history.trimmed;
  const std::uint32_t blocks = std::min(full, amount % 4);
  RC_ASSERT(is_ok(pager_.trim_front(history.handle, blocks)));
  const auto kept = history.table.begin() + static_cast<std::ptrdiff_t>(blocks);
  const std::vector<BlockIndex> leaving(history.table.begin(), kept);
  for (const BlockIndex block : leaving) coverage_.count("shared trim", owners(block) > 1);
  history.table.erase(history.table.begin(), kept);
  history.entries_changed = blocks > 0;
  history.trimmed += blocks;
  history.written = std::max(history.written, history.trimmed * spec_.block_tokens);
  coverage_.count("trimmed past its row", history.trimmed > spec_.max_blocks_per_history);
  drop(leaving);
}

void PagerModel::close(std::uint32_t name) {
  const History history = histories_.at(name);
  RC_ASSERT(is_ok(pager_.close(history.handle)));
  stale_.push_back(history.handle);
  histories_.erase(name);
  drop(history.table);
}

void PagerModel::compact(std::uint32_t budget) {
  std::map<std::uint32_t, std::uint32_t> runs;
  for (const auto& [name, history] : histories_) runs[name] = pager_.run_count(history.handle);
  const std::map<BlockIndex, BlockIndex> queued = copies_;
  const std::uint32_t moved = pager_.compact(budget);
  RC_ASSERT(moved <= budget);
  std::uint32_t found = 0;
  for (const BlockMove& copy : pager_.copies()) {
    if (queued.contains(copy.destination)) continue;
    ++found;
    accept_move(copy);
  }
  RC_ASSERT(found == moved);
  // A history whose runs moved has fewer of them.
  std::uint64_t joined = 0;
  for (const auto& [name, history] : histories_) {
    const std::uint32_t after = pager_.run_count(history.handle);
    RC_ASSERT((history.entries_changed ? after < runs[name] : after == runs[name]));
    joined += runs[name] - after;
  }
  expected_.compacted_blocks += moved;
  expected_.merged_runs += joined;
  coverage_.count("compaction that moved", moved > 0);
  coverage_.count("compaction beside queued copies", moved > 0 && !queued.empty());
}

// The source was one history's alone and in no queued copy; it stays pinned.
void PagerModel::accept_move(BlockMove move) {
  RC_ASSERT(owners(move.source) == 1U);
  RC_ASSERT(!copies_.contains(move.source));
  RC_ASSERT(!is_source(move.source));
  take(move.destination);
  copies_[move.destination] = move.source;
  for (auto& [name, history] : histories_) {
    const auto entry = std::ranges::find(history.table, move.source);
    if (entry == history.table.end()) continue;
    *entry = move.destination;
    history.entries_changed = true;
  }
}

// Copies in any order, then writes; both through the tables as they are now.
void PagerModel::step(bool reverse) {
  pager_.begin_step(++begun_);
  std::vector<BlockMove> copies(pager_.copies().begin(), pager_.copies().end());
  if (reverse) std::ranges::reverse(copies);
  std::set<BlockIndex>& touched = may_touch_[begun_];
  for (const BlockMove& copy : copies) {
    memory_[copy.destination] = memory_[copy.source];
    touched.insert({copy.source, copy.destination});
  }
  for (auto& [name, history] : histories_) {
    write_pending(history);
    touched.insert(history.table.begin(), history.table.end());
  }
  pager_.clear_copies();
  std::set<BlockIndex> unpinned;
  for (const auto& [destination, source] : std::exchange(copies_, {})) unpinned.insert(source);
  for (const BlockIndex block : unpinned) {
    if (owners(block) == 0) retire(block);
  }
}

void PagerModel::complete(bool all) {
  completed_ = all ? begun_ : completed_ + 1;
  pager_.complete_step(completed_);
  std::erase_if(may_touch_, [&](const auto& step) { return step.first <= completed_; });
  std::erase_if(quarantine_, [&](const auto& entry) {
    if (entry.first > completed_) return false;
    free_.insert(entry.second);
    return true;
  });
}

void PagerModel::use_stale(std::uint32_t draw, std::uint32_t amount) {
  const HistoryHandle handle = stale_[draw % stale_.size()];
  RC_ASSERT((pager_.append(handle, 1 + amount) == PagerOutcome::stale_handle));
  RC_ASSERT((pager_.truncate(handle, 0) == PagerOutcome::stale_handle));
  RC_ASSERT((pager_.trim_front(handle, amount) == PagerOutcome::stale_handle));
  RC_ASSERT((pager_.close(handle) == PagerOutcome::stale_handle));
  RC_ASSERT(!pager_.fork(handle, 0).has_value());
  coverage_.count("stale");
}

std::uint32_t PagerModel::owners(BlockIndex block) const {
  std::uint32_t count = 0;
  for (const auto& [name, history] : histories_) {
    count += static_cast<std::uint32_t>(std::ranges::count(history.table, block));
  }
  return count;
}

bool PagerModel::is_source(BlockIndex block) const {
  return std::ranges::any_of(copies_, [&](const auto& copy) { return copy.second == block; });
}

void PagerModel::take(BlockIndex block) {
  RC_ASSERT(free_.erase(block) == 1U);
  for (const auto& [epoch, blocks] : may_touch_) RC_ASSERT(!blocks.contains(block));
  ++handed_out_[block];
  std::ranges::fill(memory_[block], kPoison);
}

void PagerModel::drop(const std::vector<BlockIndex>& blocks) {
  for (const BlockIndex block : blocks) {
    if (owners(block) > 0) continue;
    const auto copy = copies_.find(block);
    if (copy == copies_.end()) {
      coverage_.count("pinned without an owner", is_source(block));
      if (!is_source(block)) retire(block);
      continue;
    }
    const BlockIndex source = copy->second;
    copies_.erase(copy);
    coverage_.count("cancelled copy");
    retire(block);
    if (owners(source) == 0 && !is_source(source)) retire(source);
  }
}

void PagerModel::retire(BlockIndex block) {
  if (begun_ == completed_) {
    free_.insert(block);
  } else {
    quarantine_.emplace_back(begun_, block);
  }
}

BlockIndex PagerModel::block_at(const History& history, std::uint32_t position) const {
  return history.table[position / spec_.block_tokens - history.trimmed];
}

void PagerModel::write_pending(History& history) {
  for (std::uint32_t& at = history.written; at < history.length; ++at) {
    memory_[block_at(history, at)][at % spec_.block_tokens] = history.content[at];
  }
}

}  // namespace kvrm::pager_model
