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
    // Positions after the row's that lie in its block, as long as the slot decodes; 0: ask.
    std::uint32_t room = 0;
    std::uint32_t runs = 0;  // of its history's table, as the groups have it
    DecodeRow row;
  };

  void fetch_ends();
  void take_step_slots(std::span<const SlotIndex> slots);
  void plan_slot(SlotIndex slot);
  bool advances(SlotIndex slot, const SlotState& state) const;
  void plan_row(SlotIndex slot, SlotState& state);
  std::uint32_t room_after(const DecodeRow& row) const;
  void set_runs(SlotState& state, std::uint32_t runs);
  bool goes_on(const SlotState& state, const DecodeRow& row) const;
  void sync_tables(SlotIndex slot);
  void deactivate(SlotIndex slot);
  void clear_tables(SlotIndex slot);
  void plan_far_changes();
  void edit_biases(std::span<const FarBias> biases);
  void plan_copies();
  void plan_staging();
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
  std::uint64_t runs_ = 0;             // of all slots' tables, as the groups have them
  std::vector<SlotIndex> changed_;     // of those, all that did not just move on in their block
  std::vector<SlotIndex> ending_;      // whose row was the last of its block
  std::vector<TokenId> consumed_;
  std::vector<StageCopy> staging_;          // of the step that is planned
  std::vector<std::uint32_t> generations_;  // scratch
  std::vector<FarBias> biases_;             // scratch
  TableEdits edits_;                        // scratch
  SizeHistogram groups_by_blocks_{};
};

}  // namespace kvrm
