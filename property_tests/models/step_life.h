// A random life of a few slots, kept in step with a descriptor builder by the calls that an engine
// makes; beside it the truth that the image must show. Tests only.
#pragma once

#include <cstdint>
#include <vector>

#include "engines/transport/group_table.h"
#include "harness/base/prng.h"
#include "property_tests/models/step_image_case.h"

namespace kvrm::models {

// How often each kind of operation and state was met.
struct LifeCounts {
  std::uint64_t operations = 0;
  std::uint64_t commits_of_edits = 0;
  std::uint64_t full_commits = 0;
  std::uint64_t full_with_advance = 0;
  std::uint64_t advanced_rows = 0;
  std::uint64_t kept_rows = 0;  // active, and neither edited nor advanced
  std::uint64_t kept_in_full = 0;
  std::uint64_t border_crossings = 0;
  std::uint64_t entries = 0;
  std::uint64_t departures = 0;
  std::uint64_t replaced_tables = 0;
  std::uint64_t replaced_edits = 0;  // a slot edited twice in one commit
  std::uint64_t far_rows = 0;
  std::uint64_t bias_edits = 0;
  std::uint64_t block_copies = 0;
  std::uint64_t stage_copies = 0;
  std::uint64_t dropped_staging = 0;
  std::uint64_t stage_all = 0;
  std::uint64_t far_updates = 0;
};

class Life {
 public:
  Life(std::uint64_t seed, const StepLimits& limits, const MergePolicy& policy);

  // One step's changes, committed but not applied.
  CommitResult step();
  std::vector<std::byte> expected() const { return rebuild(limits_, policy_, slots, lists); }
  // The builder's shadow with the tokens that only the device knew.
  std::vector<std::byte> shadow() const;

 private:
  std::uint32_t draw(std::uint32_t bound) {
    return static_cast<std::uint32_t>(random_.below(bound));
  }
  bool one_in(std::uint32_t count) { return draw(count) == 0; }
  bool may_advance(const SlotTruth& truth) const;
  std::vector<BlockIndex> draw_blocks(const std::vector<BlockIndex>& behind, std::uint32_t count);

  void act(SlotIndex slot, bool advance);
  void change_tables(SlotIndex slot);
  void draw_place(SlotTruth& truth);
  void edit(SlotIndex slot);
  void activate(SlotIndex slot);
  void cross_border(SlotIndex slot);
  void deactivate(SlotIndex slot);
  void edit_bias(SlotIndex slot);
  void draw_block_copies();
  void draw_stage_copies();
  void draw_far_updates();
  void count_commit(const CommitResult& commit, bool advance, std::uint64_t kept);

  RandomStream random_;
  StepLimits limits_;
  MergePolicy policy_;
  GroupTable groups_;
  TableEdits edits_;
  bool edited_ = false;  // the slot that is acting has an edit in this step

 public:
  Commits commits;
  std::vector<SlotTruth> slots;
  ListsTruth lists;
  LifeCounts counts;
};

}  // namespace kvrm::models
