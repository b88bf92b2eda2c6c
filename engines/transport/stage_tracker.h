// The planner of delta staging: remembers which block, with which content, lies at each place of
// every slot's contiguous view, and says which groups must be copied there before a step. Pure
// bookkeeping; the copies happen on the device.
//
// Content is named by (physical block, generation): whoever gives a block to another history, or
// lets anything but the append kernel write into it after it was staged, gives it a new generation.
// What the append kernel writes reaches pool and view both, so it changes no generation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "harness/base/ids.h"
#include "harness/contract/step_descriptor.h"

namespace kvrm {

struct StageShape {
  std::uint32_t slots = 0;
  std::uint32_t max_blocks = 0;  // of one history
  std::uint32_t block_tokens = 0;
  std::uint32_t max_group_blocks = 0;  // longest copy; 0: no cap
};

// A slot's history as a step will find it.
struct StagedHistory {
  std::span<const BlockIndex> table;           // by logical block
  std::span<const std::uint32_t> generations;  // of the table's blocks, by logical block too
  std::uint32_t written = 0;    // positions whose content is in the pool before the step
  std::uint32_t unchanged = 0;  // blocks whose entry and content are as the last plan() saw them
};

class StageTracker {
 public:
  explicit StageTracker(const StageShape& shape);

  // Appends the copies that make the slot's view hold the history's first `written` positions;
  // they count as done. A block without any of those positions counts as staged as it is: what it
  // will hold comes from the append kernel. Ascending by logical block. Costs what the blocks
  // behind `unchanged` cost.
  void plan(SlotIndex slot, const StagedHistory& history, std::vector<StageCopy>& copies);
  // Nothing of the slot's view is worth anything: it serves another request now, or the copies
  // that were planned last are not going to happen.
  void forget(SlotIndex slot) { staged_blocks_[slot] = 0; }

  std::uint32_t staged_blocks(SlotIndex slot) const { return staged_blocks_[slot]; }
  std::size_t bytes() const;

 private:
  struct Content {
    BlockIndex block = 0;
    std::uint32_t generation = 0;
    bool operator==(const Content&) const = default;
  };

  StageShape shape_;
  std::vector<Content> staged_;               // [slots, max_blocks]
  std::vector<std::uint32_t> staged_blocks_;  // [slots] places that are staged, from the first on
};

}  // namespace kvrm
