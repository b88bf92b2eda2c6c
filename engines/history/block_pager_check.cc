// The pager's invariants, recomputed from its tables.
#include <map>

#include "engines/history/block_pager.h"

namespace kvrm {

std::string BlockPager::check_invariants() const {
  std::vector<std::uint32_t> owners(spec_.blocks);
  for (std::uint32_t index = 0; index < spec_.max_histories; ++index) {
    for (const BlockIndex block : tables_.blocks(index)) ++owners[block];
    std::string broken = check_history(index);
    if (!broken.empty()) return "history " + std::to_string(index) + broken;
  }
  std::string broken = pool_.check_invariants(owners);
  if (broken.empty()) broken = tables_.check_invariants();
  return broken.empty() ? check_live_tokens() : broken;
}

std::string BlockPager::check_history(std::uint32_t index) const {
  const History& history = histories_[index];
  const std::span<const BlockIndex> table = tables_.blocks(index);
  if (history.generation % 2 == 0) {
    const bool empty =
        table.empty() && history.length == 0 && history.capacity == 0 && history.trimmed == 0;
    return empty ? std::string() : " is closed and left something behind";
  }
  if (table.size() + history.trimmed != blocks_for(history.length)) {
    return " has a table that does not fit its length";
  }
  std::vector<BlockIndex> sorted(table.begin(), table.end());
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted) != sorted.end()) return " has a block twice";
  const bool shared = unfilled(index) > 0 && pool_.owners(table.back()) > 1;
  if (shared && history.capacity != history.length) return " may write a block that others read";
  if (history.capacity < history.length || history.capacity > positions_in_blocks(index)) {
    return " may write beyond its blocks";
  }
  return {};
}

// Every live block counts once: as its only or fullest history has it, or as it is recorded.
std::string BlockPager::check_live_tokens() const {
  std::map<BlockIndex, std::uint32_t> fills;
  for (std::uint32_t index = 0; index < spec_.max_histories; ++index) {
    for (const BlockIndex block : tables_.blocks(index)) {
      const bool last = block == tail(index);
      std::uint32_t& fill = fills[block];
      fill = std::max(fill, last ? tail_tokens(index) : spec_.block_tokens);
    }
  }
  std::uint64_t tokens = 0;
  for (const auto& [block, fill] : fills) {
    const std::uint32_t note = pool_.note(block);
    if (note != 0 && note < fill) {
      return "block " + std::to_string(block) + " counts fewer positions than it holds";
    }
    tokens += note != 0 ? note : fill;
  }
  return tokens == live_tokens_ ? std::string() : "live tokens do not add up";
}

}  // namespace kvrm
