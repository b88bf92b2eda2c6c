// Turns the slots of a step into the edits of its step descriptor: rows, tables, copies,
// far-history updates, and what a transport must stage or map. Host work only; the graph is not its
// business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engines/descriptor/step_descriptor.h"
#include "engines/history/pooled_histories.h"
#include "engines/transport/group_table.h"
#include "engines/transport/stage_tracker.h"
#include "harness/base/result.h"
#include "harness/contract/engine.h"

namespace kvrm {

struct PlannerShape {
  Transport transport = Transport::fused;
  GroupTableShape groups;
};

class StepPlanner {
 public:
  // Both outlive the planner.
  StepPlanner(const PlannerShape& shape, PooledHistories& histories, StepDescriptor& descriptor);

  // The table work of slots that have been extended for the next step, ahead of plan().
  void prepare(std::span<const SlotIndex> slots);
  // The edits that turn the last step's image into this one's; histories.begin_step() came before.
  void plan(std::span<const SlotIndex> slots);
  // Only what a view needs, for a step whose record is not planned here.
  void plan_views(std::span<const SlotIndex> slots);
  // Transport `remap`: shows what plan() found to be new in the views. No step may be in flight.
  Status map_views();
  // The slot's history is gone.
  void release(SlotIndex slot);

  std::span<const SlotIndex> step_slots() const { return step_slots_; }  // of the last plan()
  // The token that each slot's row consumed in its last step; for tests.
  std::span<const TokenId> consumed() const { return consumed_; }
  const SizeHistogram& groups_by_blocks() const { return groups_by_blocks_; }
  std::size_t bytes() const;

 private:
  // What the image holds of a slot.
  struct SlotState {
    bool active = false;               // in the last step
    bool sampled = false;              // the device has sampled the slot's last token
    std::uint64_t version = 0;         // of its history's table, as the groups have it
    std::uint64_t staged_version = 0;  // and as the view has it
    DecodeRow row;
  };

  void plan_slot(SlotIndex slot);
  bool goes_on(const SlotState& state, const DecodeRow& row) const;
  void sync_tables(SlotIndex slot);
  void deactivate(SlotIndex slot);
  void clear_tables(SlotIndex slot);
  void plan_far_changes();
  void edit_biases(std::span<const FarBias> biases);
  void plan_copies();
  void plan_staging(std::span<const SlotIndex> slots);
  void stage_slot(SlotIndex slot);
  void count_groups();
  void count_staged();

  PlannerShape shape_;
  PooledHistories& histories_;
  StepDescriptor& descriptor_;
  GroupTable groups_;
  StageTracker staged_;
  std::vector<SlotState> slots_;
  std::vector<SlotIndex> step_slots_;  // ascending
  std::vector<TokenId> consumed_;
  std::vector<StageCopy> staging_;          // of the step that is planned
  std::vector<std::uint32_t> generations_;  // scratch
  std::vector<FarBias> biases_;             // scratch
  TableEdits edits_;                        // scratch
  SizeHistogram groups_by_blocks_{};
};

}  // namespace kvrm
