// A naive pager beside the real one: sets, plain tables, and a memory of blocks that steps write,
// copy and read. Every operation is done to both, then everything that can be seen is compared.
// Where blocks are placed and which runs are moved is the pager's choice; that it was allowed to
// choose so is checked.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engines/history/block_pager.h"

namespace kvrm::pager_model {

enum class Kind : std::uint8_t {
  open,
  append,
  write_now,  // an eager prefill: what is appended is written before the next step
  fork,
  truncate,
  trim_front,
  close,
  compact,
  step,
  complete,
  use_stale,
};

// `draw` picks the history, `amount` how much.
struct Operation {
  Kind kind = Kind::open;
  std::uint32_t draw = 0;
  std::uint32_t amount = 0;
};
std::ostream& operator<<(std::ostream& out, const Operation& operation);

// How often each rare case was met over all sequences: a run that never met one proves nothing
// about it.
class Coverage {
 public:
  Coverage();
  void count(const std::string& name, bool met = true);
  const std::map<std::string, std::uint64_t>& counts() const { return counts_; }

 private:
  std::map<std::string, std::uint64_t> counts_;
};

class PagerModel {
 public:
  PagerModel(const PagerSpec& spec, Coverage& coverage);

  // Hands blocks out and takes them back in a drawn order, so that no policy sees a fresh pool.
  void scramble(const std::vector<std::uint32_t>& draws);
  void run(const Operation& operation);
  // Closes everything and lets all steps complete: nothing may be left.
  void finish();

 private:
  struct History {
    HistoryHandle handle;
    std::uint32_t length = 0;
    std::uint32_t trimmed = 0;           // blocks
    std::uint32_t written = 0;           // positions below are in memory
    std::vector<std::uint64_t> content;  // [length], a number of its own for each write
    std::vector<BlockIndex> table;
    std::uint32_t version = 0;
    bool entries_changed = false;  // by the operation that runs
    bool is_fork = false;
    bool was_forked = false;
  };

  std::uint32_t choose(std::uint32_t draw) const;
  void open();
  void append(History& history, std::uint32_t tokens);
  void accept_append(History& history, std::uint32_t tokens, bool copies_tail);
  void accept_copy_on_write(History& history, BlockIndex fresh);
  void write_now(History& history);
  void fork(History& history, std::uint32_t amount);
  void truncate(History& history, std::uint32_t amount);
  void trim_front(History& history, std::uint32_t amount);
  void close(std::uint32_t name);
  void compact(std::uint32_t budget);
  void accept_move(BlockMove move);
  void step(bool reverse);
  void complete(bool all);
  void use_stale(std::uint32_t draw, std::uint32_t amount);

  std::uint32_t owners(BlockIndex block) const;
  bool is_source(BlockIndex block) const;
  void take(BlockIndex block);
  void drop(const std::vector<BlockIndex>& blocks);  // after they left a table
  void retire(BlockIndex block);
  BlockIndex block_at(const History& history, std::uint32_t position) const;
  void write_pending(History& history);

  void compare();
  void compare_history(History& history);
  void compare_runs() const;
  void compare_live_tokens() const;

  PagerSpec spec_;
  BlockPager pager_;
  Coverage& coverage_;
  std::map<std::uint32_t, History> histories_;  // open ones, by name
  std::uint32_t opened_ = 0;
  std::vector<HistoryHandle> stale_;
  std::set<BlockIndex> free_;
  std::vector<std::pair<Epoch, BlockIndex>> quarantine_;
  std::map<BlockIndex, BlockIndex> copies_;  // queued: destination, source
  std::map<Epoch, std::set<BlockIndex>> may_touch_;
  Epoch begun_ = 0;
  Epoch completed_ = 0;
  std::vector<std::uint32_t> handed_out_;           // [blocks]
  std::vector<std::vector<std::uint64_t>> memory_;  // [blocks][block_tokens]
  std::uint64_t next_value_ = 1;
  PagerCounters expected_;  // those of forks, copies and compaction
};

}  // namespace kvrm::pager_model
