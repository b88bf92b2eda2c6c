// What the naive pager expects of the real one after each operation.
#include <rapidcheck.h>

#include <algorithm>
#include <bit>
#include <ostream>

#include "property_tests/models/pager_model.h"

namespace kvrm::pager_model {
namespace {

constexpr const char* kCases[] = {"fork",
                                  "fork without a history left",
                                  "fork of a trimmed history",
                                  "fork of a shorter prefix",
                                  "copy on write by a fork",
                                  "copy on write by a forked history",
                                  "copy on write of a block that waits for its copy",
                                  "shared trim",
                                  "trimmed past its row",
                                  "truncate into a shared block",
                                  "compaction that moved",
                                  "compaction beside queued copies",
                                  "cancelled copy",
                                  "pinned without an owner",
                                  "write beside queued copies",
                                  "exhausted",
                                  "exhausted by quarantine",
                                  "exhausted by a copy on write",
                                  "too long",
                                  "full pool",
                                  "stale"};

constexpr const char* kKinds[] = {"open",     "append",     "write now", "fork",
                                  "truncate", "trim front", "close",     "compact",
                                  "step",     "complete",   "use stale"};

std::uint32_t count_runs(const std::vector<BlockIndex>& table, SizeHistogram& sizes) {
  std::uint32_t runs = 0;
  for (std::size_t begin = 0; begin < table.size(); ++runs) {
    std::size_t end = begin + 1;
    while (end < table.size() && table[end] == table[end - 1] + 1) ++end;
    ++sizes[static_cast<std::size_t>(std::bit_width(end - begin) - 1)];
    begin = end;
  }
  return runs;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Operation& operation) {
  return out << kKinds[static_cast<std::size_t>(operation.kind)] << " #" << operation.draw << ' '
             << operation.amount;
}

Coverage::Coverage() {
  for (const char* name : kCases) counts_[name] = 0;
}

void Coverage::count(const std::string& name, bool met) { counts_.at(name) += met ? 1 : 0; }

void PagerModel::compare() {
  RC_ASSERT(pager_.check_invariants() == std::string());
  RC_ASSERT(pager_.free_blocks() == free_.size());
  RC_ASSERT(pager_.quarantined_blocks() == quarantine_.size());
  RC_ASSERT(pager_.open_histories() == histories_.size());
  std::map<BlockIndex, BlockIndex> copies;
  for (const BlockMove& copy : pager_.copies()) copies[copy.destination] = copy.source;
  RC_ASSERT(copies.size() == pager_.copies().size());
  RC_ASSERT(copies == copies_);
  for (auto& [name, history] : histories_) compare_history(history);
  for (BlockIndex block = 0; block < spec_.blocks; ++block) {
    if (!spec_.counts_generations) break;
    RC_ASSERT(pager_.block_generation(block) == handed_out_[block]);
  }
  compare_runs();
  compare_live_tokens();
  const PagerCounters counters = pager_.counters();
  RC_ASSERT(counters.out_of_blocks == expected_.out_of_blocks);
  RC_ASSERT(counters.forks == expected_.forks);
  RC_ASSERT(counters.copy_on_writes == expected_.copy_on_writes);
  RC_ASSERT(counters.compacted_blocks == expected_.compacted_blocks);
  RC_ASSERT(counters.merged_runs == expected_.merged_runs);
  coverage_.count("full pool", free_.empty());
}

void PagerModel::compare_history(History& history) {
  RC_ASSERT(pager_.is_open(history.handle));
  RC_ASSERT(pager_.length(history.handle) == history.length);
  RC_ASSERT(pager_.trimmed(history.handle) == history.trimmed);
  RC_ASSERT(std::ranges::equal(pager_.table(history.handle), history.table));
  const std::uint32_t version = pager_.version(history.handle);
  RC_ASSERT((version != history.version) == history.entries_changed);
  history.version = version;
  history.entries_changed = false;
  // Where a block waits for its copy, its content is still in the copy's source.
  for (std::uint32_t at = history.trimmed * spec_.block_tokens; at < history.written; ++at) {
    const BlockIndex block = block_at(history, at);
    const auto copy = copies_.find(block);
    const BlockIndex holder = copy == copies_.end() ? block : copy->second;
    RC_ASSERT(memory_[holder][at % spec_.block_tokens] == history.content[at]);
  }
}

void PagerModel::compare_runs() const {
  SizeHistogram sizes{};
  for (const auto& [name, history] : histories_) {
    RC_ASSERT(pager_.run_count(history.handle) == count_runs(history.table, sizes));
  }
  RC_ASSERT(pager_.runs_by_blocks() == sizes);
}

// Exact where nothing was ever shared; a block that was may count for more than any history has
// in it now, but never for more than it holds.
void PagerModel::compare_live_tokens() const {
  std::map<BlockIndex, std::uint32_t> fills;
  for (const auto& [name, history] : histories_) {
    for (std::size_t i = 0; i < history.table.size(); ++i) {
      const bool last = i + 1 == history.table.size();
      std::uint32_t& fill = fills[history.table[i]];
      fill =
          std::max(fill, last ? (history.length - 1) % spec_.block_tokens + 1 : spec_.block_tokens);
    }
  }
  std::uint64_t least = 0;
  for (const auto& [block, fill] : fills) least += fill;
  RC_ASSERT(pager_.live_tokens() >= least);
  RC_ASSERT(pager_.live_tokens() <= fills.size() * spec_.block_tokens);
  if (expected_.forks == 0) RC_ASSERT(pager_.live_tokens() == least);
}

}  // namespace kvrm::pager_model
