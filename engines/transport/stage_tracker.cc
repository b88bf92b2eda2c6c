#include "engines/transport/stage_tracker.h"

#include <algorithm>

#include "harness/base/check.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

bool joins(const StageCopy& copy, std::uint32_t logical, BlockIndex physical, std::uint32_t cap) {
  return copy.logical + copy.blocks == logical &&
         copy.physical + copy.blocks + KVRM_MUTATE(stage_merges_across_gap, 0U, 1U) >= physical &&
         copy.physical + copy.blocks <= physical &&
         (cap == 0 || copy.blocks < cap + KVRM_MUTATE(stage_exceeds_cap, 0U, 1U));
}

}  // namespace

StageTracker::StageTracker(const StageShape& shape)
    : shape_(shape),
      staged_(std::size_t{shape.slots} * shape.max_blocks),
      staged_blocks_(shape.slots) {
  KVRM_CHECK_LT(0U, shape.block_tokens);
}

void StageTracker::plan(SlotIndex slot, const StagedHistory& history,
                        std::vector<StageCopy>& copies) {
  const auto blocks = static_cast<std::uint32_t>(history.table.size());
  KVRM_CHECK_LE(blocks, shape_.max_blocks);
  const std::uint32_t staged_before = staged_blocks_[slot];
  KVRM_CHECK_LE(history.unchanged, std::min(staged_before, blocks));
  Content* staged = &staged_[std::size_t{slot} * shape_.max_blocks];
  const std::size_t first_copy = copies.size();
  for (std::uint32_t logical = history.unchanged; logical < blocks; ++logical) {
    const BlockIndex block = history.table[logical];
    const Content content{block, history.generations[logical]};
    const bool holds = KVRM_MUTATE(stage_trusts_beyond_end, logical < staged_before, true) &&
                       KVRM_MUTATE(stage_ignores_generation, staged[logical] == content,
                                   staged[logical].block == block);
    staged[logical] = content;
    const bool empty = std::uint64_t{logical} * shape_.block_tokens >=
                       history.written + KVRM_MUTATE(stage_own_block_early, 0U, 1U);
    if (holds || empty) continue;
    if (copies.size() > first_copy &&
        joins(copies.back(), logical, block, shape_.max_group_blocks)) {
      ++copies.back().blocks;
    } else {
      copies.push_back({.slot = slot, .logical = logical, .physical = block, .blocks = 1});
    }
  }
  staged_blocks_[slot] = blocks;
}

std::size_t StageTracker::bytes() const {
  return staged_.size() * sizeof(Content) + staged_blocks_.size() * sizeof(std::uint32_t);
}

}  // namespace kvrm
