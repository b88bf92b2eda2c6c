#include "engines/kvrm/step_planner.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

bool stages(Transport transport) {
  return transport == Transport::delta || transport == Transport::remap;
}

}  // namespace

StepPlanner::StepPlanner(const PlannerShape& shape, PooledHistories& histories,
                         StepDescriptor& descriptor)
    : shape_(shape),
      histories_(histories),
      descriptor_(descriptor),
      groups_(shape.groups),
      staged_({.slots = shape.groups.slots,
               .max_blocks = shape.groups.max_blocks,
               .block_tokens = shape.groups.block_tokens,
               .max_group_blocks = shape.groups.policy.max_group_blocks}),
      slots_(shape.groups.slots),
      consumed_(shape.groups.slots, kNoToken) {
  step_slots_.reserve(shape.groups.slots);
  changed_.reserve(shape.groups.slots);
  ending_.reserve(shape.groups.slots);
}

void StepPlanner::prepare(std::span<const SlotIndex> slots) {
  for (const SlotIndex slot : slots) sync_tables(slot);
}

void StepPlanner::plan(std::span<const SlotIndex> slots) {
  fetch_ends();
  take_step_slots(slots);
  plan_far_changes();
  plan_copies();
  changed_.clear();
  for (const SlotIndex slot : slots) plan_slot(slot);
  descriptor_.builder().advance();
  if (stages(shape_.transport)) {
    plan_staging();
  } else {
    count_groups();
  }
}

// A new block's entries lie far from whatever a plain step touches.
void StepPlanner::fetch_ends() {
  for (const SlotIndex slot : ending_) {
    groups_.prefetch(slot);
    descriptor_.builder().prefetch_group(slot, groups_.groups(slot));
  }
  ending_.clear();
}

void StepPlanner::take_step_slots(std::span<const SlotIndex> slots) {
  if (std::ranges::equal(slots, step_slots_)) return;
  auto next = slots.begin();
  for (const SlotIndex slot : step_slots_) {
    while (next != slots.end() && *next < slot) ++next;
    if (next == slots.end() || *next != slot) deactivate(slot);
  }
  step_slots_.assign(slots.begin(), slots.end());
}

void StepPlanner::plan_slot(SlotIndex slot) {
  SlotState& state = slots_[slot];
  if (advances(slot, state)) {
    if (--state.room == 0) ending_.push_back(slot);
    ++state.row.position;
    ++state.row.length;
    ++state.row.write_slot;
    consumed_[slot] = state.row.token = histories_.last_token(slot);
    return;
  }
  changed_.push_back(slot);
  plan_row(slot, state);
}

// Whether the row is the last one moved on by one position in the same block, known without asking
// for it. Where the block has room the table did not grow, and whatever else may have happened to
// it changes its version.
bool StepPlanner::advances(SlotIndex slot, const SlotState& state) const {
  return state.room > 0 && KVRM_MUTATE(planner_ignores_remapping,
                                       histories_.table_version(slot) == state.version, true);
}

void StepPlanner::plan_row(SlotIndex slot, SlotState& state) {
  const DecodeRow row = histories_.decode_row(slot);
  sync_tables(slot);
  if (KVRM_MUTATE(planner_prefill_entries_unsent, !state.sampled,
                  false)) {  // its first step: prefill made its entries
    biases_.clear();
    histories_.list_far_biases(slot, biases_);
    edit_biases(biases_);
  }
  const bool on_device = state.sampled && row.token != kNoToken;
  if (!goes_on(state, row)) {
    descriptor_.builder().edit_slot({.slot = slot,
                                     .flags = kSlotActive | (on_device ? 0U : kTokenGiven),
                                     .token = on_device ? kNoToken : row.token,
                                     .position = row.position,
                                     .length = row.length,
                                     .far = row.far,
                                     .write_slot = row.write_slot,
                                     .content_key = row.content_key});
  }
  state.active = state.sampled = true;
  state.row = row;
  state.room = room_after(row);
  consumed_[slot] = row.token;
}

// Rows of a far history depend on more than their block.
std::uint32_t StepPlanner::room_after(const DecodeRow& row) const {
  if (histories_.info().far_history.enabled) return 0;
  const std::uint32_t block_tokens = shape_.groups.block_tokens;
  return block_tokens - KVRM_MUTATE(planner_room_one_more, 1U, 0U) -
         static_cast<std::uint32_t>(row.write_slot % block_tokens);
}

// Whether the device's own step forward gives this row.
bool StepPlanner::goes_on(const SlotState& state, const DecodeRow& row) const {
  const DecodeRow& last = state.row;
  return state.active && row.position == last.position + 1 && row.length == last.length + 1 &&
         row.write_slot == last.write_slot + 1 &&
         row.write_slot % shape_.groups.block_tokens != 0 && row.content_key == last.content_key &&
         row.far.first == last.far.first && row.far.entries == last.far.entries &&
         row.far.window == last.far.window;
}

void StepPlanner::sync_tables(SlotIndex slot) {
  SlotState& state = slots_[slot];
  const std::span<const BlockIndex> table = histories_.table(slot);
  const std::uint64_t version = histories_.table_version(slot);
  const std::uint32_t known = groups_.blocks(slot);
  if (known == table.size() && version == state.version) return;
  // A table that changed before its end may have moved the block that the row is in, which
  // prepare() does not ask for.
  if (version != state.version) state.room = 0;
  edits_.clear();
  if (known > 0 && version != state.version) {
    groups_.replace(slot, table, edits_);
  } else {
    groups_.append(slot, table.subspan(known), edits_);
  }
  state.version = version;
  set_runs(state, histories_.run_count(slot));
  descriptor_.builder().edit_tables(edits_);
}

void StepPlanner::set_runs(SlotState& state, std::uint32_t runs) {
  runs_ += runs;
  runs_ -= KVRM_MUTATE(planner_runs_only_grow, state.runs, 0U);
  state.runs = runs;
}

// A slot outside the step has no groups either: padding rows read no live KV, and `full` copies
// none for them.
void StepPlanner::deactivate(SlotIndex slot) {
  clear_tables(slot);
  descriptor_.builder().edit_slot(inactive_slot(slot));
  slots_[slot].active = slots_[slot].sampled = false;
  slots_[slot].room = KVRM_MUTATE(planner_paused_row_advances, 0U, slots_[slot].room);
}

void StepPlanner::clear_tables(SlotIndex slot) {
  if (groups_.blocks(slot) == 0) return;
  edits_.clear();
  groups_.clear(slot, edits_);
  set_runs(slots_[slot], 0);
  descriptor_.builder().edit_tables(edits_);
}

void StepPlanner::release(SlotIndex slot) {
  clear_tables(slot);
  staged_.forget(slot);
  slots_[slot].sampled = false;
  // What the row was says nothing about the slot's next history.
  slots_[slot].row = {};
  slots_[slot].room = KVRM_MUTATE(planner_released_row_advances, 0U, slots_[slot].room);
}

void StepPlanner::plan_far_changes() {
  const FarChanges& changes = histories_.far_changes();
  for (const FarUpdate& update : changes.updates) descriptor_.builder().update_far(update);
  edit_biases(changes.biases);
  // Entries are written in place, so that their block's generation does not tell.
  if (KVRM_MUTATE(planner_far_entries_stay_staged, shape_.transport != Transport::delta, true))
    return;
  for (const FarBias& entry : changes.biases) staged_.forget(entry.slot);
}

void StepPlanner::edit_biases(std::span<const FarBias> biases) {
  edits_.clear();
  for (const FarBias& entry : biases) {
    edits_.set_value(entry.slot, StepTable::far_bias, entry.entry,
                     std::bit_cast<std::uint32_t>(entry.bias));
  }
  if (!edits_.empty()) descriptor_.builder().edit_tables(edits_);
}

void StepPlanner::plan_copies() {
  for (const BlockMove& move : histories_.copies()) {
    descriptor_.builder().copy_blocks(
        {.source = move.source, .destination = move.destination, .blocks = 1, .reserved = 0});
  }
  histories_.counters().moved_bytes += histories_.copies().size() * histories_.plan().block_bytes();
  histories_.clear_copies();
}

// A row that moved on in its block has no block that its view lacks.
void StepPlanner::plan_staging() {
  staging_.clear();
  for (const SlotIndex slot : changed_) stage_slot(slot);
  if (shape_.transport == Transport::delta) descriptor_.builder().stage(staging_);
  count_staged();
}

void StepPlanner::stage_slot(SlotIndex slot) {
  SlotState& state = slots_[slot];
  const std::span<const BlockIndex> table = histories_.table(slot);
  const bool same =
      KVRM_MUTATE(planner_remap_not_restaged, state.staged_version == state.version, true);
  const std::uint32_t unchanged = same ? staged_.staged_blocks(slot) : 0;
  if (unchanged == table.size()) return;
  state.staged_version = state.version;
  generations_.resize(table.size());
  for (std::size_t i = unchanged; i < table.size(); ++i) {
    generations_[i] = histories_.block_generation(table[i]);
  }
  // A view of mapped pages must show the block of the new position too; a copied one gets that
  // position from the append kernel.
  const std::uint32_t ahead = shape_.transport == Transport::remap ? 0 : 1;
  staged_.plan(slot,
               {.table = table,
                .generations = generations_,
                .written = state.row.length - ahead,
                .unchanged = unchanged},
               staging_);
}

void StepPlanner::plan_views(std::span<const SlotIndex> slots) {
  staging_.clear();
  for (const SlotIndex slot : slots) {
    slots_[slot].row = histories_.decode_row(slot);
    slots_[slot].version = histories_.table_version(slot);
    stage_slot(slot);
  }
}

Status StepPlanner::map_views() {
  for (const StageCopy& span : staging_) {
    const Status mapped =
        histories_.pool().map(span.slot, span.logical, span.physical, span.blocks);
    if (!mapped) return mapped;
  }
  return {};
}

// Groups that are streamed, or copied whole, in this step.
void StepPlanner::count_groups() {
  EngineCounters& counters = histories_.counters();
  counters.groups += groups_.total_streams();
  counters.blocks += groups_.total_blocks();
  counters.groups_minimum += runs_;
  const SizeHistogram& sizes = groups_.groups_by_blocks();
  for (std::size_t i = 0; i < sizes.size(); ++i) groups_by_blocks_[i] += sizes[i];
  if (shape_.transport == Transport::full) {
    counters.moved_bytes += groups_.total_blocks() * histories_.plan().block_bytes();
  }
}

// Groups that are copied into views, or mapped there, in this step.
void StepPlanner::count_staged() {
  EngineCounters& counters = histories_.counters();
  const PoolPlan& plan = histories_.plan();
  const StageCopy* last = nullptr;
  std::uint64_t blocks = 0;
  for (const StageCopy& copy : staging_) {
    const bool goes_on = last != nullptr && last->slot == copy.slot &&
                         last->logical + last->blocks == copy.logical &&
                         last->physical + last->blocks == copy.physical;
    counters.groups_minimum += goes_on ? 0 : 1;
    blocks += copy.blocks;
    ++groups_by_blocks_[size_class(copy.blocks)];
    last = &copy;
  }
  counters.groups += staging_.size();
  counters.blocks += blocks;
  if (shape_.transport != Transport::delta) return;
  // Staging more groups than the image lists stages everything.
  const bool all = staging_.size() > descriptor_.limits().shape.max_stage_copies;
  counters.moved_bytes +=
      (KVRM_MUTATE(planner_full_staging_uncounted, all, false) ? groups_.total_blocks() : blocks) *
          plan.block_bytes() +
      step_slots_.size() * plan.token_bytes;
}

std::size_t StepPlanner::bytes() const {
  return groups_.bytes() + staged_.bytes() + slots_.size() * sizeof(SlotState) +
         consumed_.size() * sizeof(TokenId) + staging_.capacity() * sizeof(StageCopy);
}

}  // namespace kvrm
