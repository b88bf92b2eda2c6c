// The block pager: owns the ids of a pool's blocks and every logical history, and hands out
// histories by handle. It moves no bytes and knows no device, no slot and no request; the engine
// that uses it does.
//
// The life of a block:
//   1. free         in the free list, with no owner
//   2. live         in exactly one history's table, written and read by steps
//   3. quarantined  given back while a step that may touch it runs; free once that step completed
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engines/history/free_list.h"
#include "harness/base/check.h"
#include "harness/base/ids.h"
#include "harness/contract/engine_spec.h"

namespace kvrm {

struct PagerSpec {
  std::uint32_t blocks = 0;  // of the pool
  std::uint32_t block_tokens = 0;
  std::uint32_t max_histories = 0;
  std::uint32_t max_blocks_per_history = 0;
  Placement placement = Placement::lifo;
};

// Names a history for as long as it is open. Once closed the generation no longer matches, and the
// handle can do nothing.
struct HistoryHandle {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;
};

enum class PagerOutcome : std::uint8_t {
  ok,
  out_of_blocks,  // nothing changed; blocks may come back when a history closes or a step completes
  too_long,       // nothing changed; longer than max_blocks_per_history
  stale_handle,   // nothing changed; the history was closed
};

struct PagerCounters {
  std::uint64_t blocks_taken = 0;
  std::uint64_t blocks_given_back = 0;
  std::uint64_t blocks_quarantined = 0;  // of those given back
  std::uint64_t out_of_blocks = 0;
};

// All storage is sized at construction; no operation allocates. Costs follow the blocks touched.
class BlockPager {
 public:
  explicit BlockPager(const PagerSpec& spec);

  // A new empty history, none when max_histories are open.
  std::optional<HistoryHandle> open();
  // Adds `tokens` positions at the end: all of them or none.
  PagerOutcome append(HistoryHandle handle, std::uint32_t tokens) {
    if (!is_open(handle)) return PagerOutcome::stale_handle;
    History& history = histories_[handle.index];
    if (tokens > history.capacity - history.length) return append_with_blocks(history, tokens);
    history.length += tokens;
    live_tokens_ += tokens;
    return PagerOutcome::ok;
  }
  // Keeps the first `length` positions. CHECKs that the history has so many.
  PagerOutcome truncate(HistoryHandle handle, std::uint32_t length);
  PagerOutcome close(HistoryHandle handle);

  // Fences. A block given back between begin_step(e) and complete_step(e) is reused only after
  // complete_step(e), since step e may still touch it. Epochs rise; several steps may be in flight.
  void begin_step(Epoch epoch);
  void complete_step(Epoch epoch);

  bool is_open(HistoryHandle handle) const {
    return handle.index < histories_.size() &&
           histories_[handle.index].generation == handle.generation && handle.generation % 2 == 1;
  }
  // Of an open history (CHECKed): positions, physical blocks in logical order, and runs in them.
  std::uint32_t length(HistoryHandle handle) const { return get(handle).length; }
  std::span<const BlockIndex> table(HistoryHandle handle) const;
  std::uint32_t run_count(HistoryHandle handle) const { return get(handle).runs; }

  const PagerSpec& spec() const { return spec_; }
  std::uint32_t free_blocks() const { return free_list_->count(); }
  std::uint32_t quarantined_blocks() const { return quarantine_size_; }  // coming back
  std::uint32_t live_blocks() const { return spec_.blocks - free_blocks() - quarantined_blocks(); }
  std::uint64_t live_tokens() const { return live_tokens_; }  // stored length of all histories
  std::uint32_t open_histories() const {
    return spec_.max_histories - static_cast<std::uint32_t>(unused_histories_.size());
  }
  const PagerCounters& counters() const { return counters_; }
  std::size_t bytes() const;  // host memory held

  // DESIGN 19, 1-3 and 7, checked over all of the pool: what is broken, empty when nothing is.
  std::string check_invariants() const;

 private:
  struct History {
    std::uint32_t generation = 0;  // odd while open
    std::uint32_t length = 0;      // positions
    std::uint32_t capacity = 0;    // positions in the blocks that it has
    std::uint32_t blocks = 0;      // entries used of its table
    std::uint32_t runs = 0;
  };
  struct Quarantined {
    Epoch fence = 0;
    BlockIndex block = 0;
  };

  const History& get(HistoryHandle handle) const {
    KVRM_CHECK(is_open(handle));
    return histories_[handle.index];
  }
  BlockIndex* table_of(const History& history) {
    return tables_.data() +
           static_cast<std::size_t>(&history - histories_.data()) * spec_.max_blocks_per_history;
  }
  PagerOutcome append_with_blocks(History& history, std::uint32_t tokens);
  void add_blocks(History& history, std::uint32_t count);
  void drop_blocks_from(History& history, std::uint32_t first);
  void give_back(std::span<const BlockIndex> blocks);
  std::string check_block_sets() const;
  std::string check_histories() const;

  PagerSpec spec_;
  std::unique_ptr<FreeList> free_list_;
  std::vector<std::uint32_t> references_;  // [blocks] histories that hold the block
  std::vector<History> histories_;         // [max_histories]
  std::vector<BlockIndex> tables_;         // [max_histories, max_blocks_per_history]
  std::vector<std::uint32_t> unused_histories_;
  std::vector<Quarantined> quarantine_;  // [blocks], a ring in order of fence
  std::uint32_t quarantine_begin_ = 0;
  std::uint32_t quarantine_size_ = 0;
  std::vector<BlockIndex> released_;  // [blocks], scratch of complete_step()
  Epoch begun_ = 0;
  Epoch completed_ = 0;
  std::uint64_t live_tokens_ = 0;
  PagerCounters counters_;
};

}  // namespace kvrm
