#include "engines/static/static_engine.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engines/decoder/attention_work.h"
#include "engines/decoder/rows_ahead.h"
#include "engines/static/static_setup.h"
#include "harness/base/check.h"
#include "harness/base/units.h"
#include "harness/trace/trace_range.h"

namespace kvrm {
namespace {

struct Slot {
  bool used = false;
  std::uint64_t content_key = 0;
  std::uint64_t prefix_key = 0;     // names the content of the first prefix_tokens positions
  std::uint32_t prefix_tokens = 0;  // below prompt_tokens, so only prefill meets them
  std::uint32_t prompt_tokens = 0;  // positions to prefill
  std::uint32_t length = 0;         // positions held
  TokenId last_token = kNoToken;    // sampled, not yet consumed
  std::vector<TokenId> tokens;      // [prompt_tokens]; decoder only
};

class StaticEngine final : public Engine {
 public:
  StaticEngine(const EngineSpec& spec, const DecoderModel& model, Device& device,
               StaticSetup setup);

 private:
  const EngineInfo& do_info() const override { return info_; }
  bool do_admit(const Admission& admission) override;
  StepResult do_prefill(const PrefillChunk& chunk) override;
  bool do_extend(SlotIndex slot) override;
  void do_submit(const StepPlan& plan) override;
  void do_prepare(const StepPlan& next) override;
  StepResult do_collect() override;
  void do_release(SlotIndex slot) override;
  EngineUsage do_usage() const override;

  LengthGraph& choose_graph(const StepPlan& plan);
  RowInput next_row(SlotIndex index) const;
  void fill_rows(const StepPlan& plan);
  void count_step(const StepPlan& plan, std::uint32_t compute_length);

  EngineInfo info_;
  const ModelShape& model_;
  Device& device_;
  StaticSetup setup_;
  std::uint32_t block_tokens_;
  std::vector<Slot> slots_;
  std::uint64_t used_slots_ = 0;
  std::uint64_t live_positions_ = 0;
  std::uint64_t graph_bytes_ = 0;

  std::vector<SlotIndex> step_slots_;  // of the step in flight
  std::vector<RowResult> results_;
  RowsAhead rows_ahead_;
  PhaseTimes phases_;
  StepTrace trace_;            // beside the phases
  Nanoseconds committed_ = 0;  // when the step's replay was called
  Nanoseconds submitted_ = 0;
  EngineCounters counters_;
  std::uint64_t launch_hash_ = 0;
  std::uint64_t launch_signature_ = 0;
};

StaticEngine::StaticEngine(const EngineSpec& spec, const DecoderModel& model, Device& device,
                           StaticSetup setup)
    : model_(model.shape()),
      device_(device),
      setup_(std::move(setup)),
      block_tokens_(spec.options.block_tokens),
      slots_(setup_.slots),
      rows_ahead_(setup_.slots) {
  info_.kind = spec.kind;
  info_.label = spec.label;
  info_.slots = setup_.slots;
  info_.max_history_tokens = setup_.max_len;
  step_slots_.reserve(setup_.slots);
  results_.reserve(setup_.slots);
  counters_.captures = setup_.graphs.size();
  for (const LengthGraph& graph : setup_.graphs) graph_bytes_ += graph.graph.bytes();
}

bool StaticEngine::do_admit(const Admission& admission) {
  Slot& slot = slots_.at(admission.slot);
  KVRM_CHECK(!slot.used);
  KVRM_CHECK_LE(1U, admission.token_count);
  KVRM_CHECK_LE(admission.token_count, setup_.max_len);
  slot.used = true;
  slot.content_key = admission.content_key;
  slot.prefix_key = admission.prefix_key;
  slot.prefix_tokens = admission.prefix_tokens;
  slot.prompt_tokens = admission.token_count;
  slot.length = 0;
  slot.last_token = kNoToken;
  slot.tokens.assign(admission.tokens.begin(), admission.tokens.end());
  ++used_slots_;
  return true;
}

StepResult StaticEngine::do_prefill(const PrefillChunk& chunk) {
  Slot& slot = slots_.at(chunk.slot);
  KVRM_CHECK(slot.used);
  KVRM_CHECK_EQ(chunk.first, slot.length);
  KVRM_CHECK_EQ(chunk.last, chunk.first + chunk.count == slot.prompt_tokens);
  const Nanoseconds start = device_.clock().now();
  Prefill::Chunk work;
  work.first = chunk.first;
  work.count = chunk.count;
  work.last = chunk.last;
  work.history = chunk.slot;
  work.content_key = slot.content_key;
  work.prefix_key = slot.prefix_key;
  work.prefix_tokens = slot.prefix_tokens;
  if (!slot.tokens.empty()) work.tokens = std::span(slot.tokens).subspan(chunk.first, chunk.count);
  work.write_slot = [&](std::uint32_t position) {
    return setup_.kv.write_slot(chunk.slot, position);
  };
  RowResult result = setup_.prefill.run(work, setup_.kv.layers());
  slot.length += chunk.count;
  live_positions_ += chunk.count;
  results_.clear();
  if (chunk.last) {
    result.slot = chunk.slot;
    slot.last_token = result.token;
    results_.push_back(result);
  }
  StepResult step;
  step.rows = results_;
  step.phases.replay = device_.clock().now() - start;
  return step;
}

// max_len positions were reserved at the start.
bool StaticEngine::do_extend(SlotIndex index) {
  const Slot& slot = slots_.at(index);
  KVRM_CHECK(slot.used);
  KVRM_CHECK_LT(slot.length, setup_.max_len);
  return true;
}

void StaticEngine::do_submit(const StepPlan& plan) {
  Clock& clock = device_.clock();
  trace_.begin(TraceName::plan, plan.step);
  const Nanoseconds start = clock.now();
  step_slots_.assign(plan.slots.begin(), plan.slots.end());
  LengthGraph& graph = choose_graph(plan);
  const Nanoseconds planned = clock.now();
  trace_.next(TraceName::commit);
  fill_rows(plan);
  count_step(plan, graph.compute_length);
  committed_ = clock.now();
  trace_.next(TraceName::replay);
  graph.graph.replay(device_);
  launch_hash_ = graph.graph.launch_hash();
  launch_signature_ = graph.graph.launch_signature();
  submitted_ = clock.now();
  phases_ = {.plan = planned - start, .commit = committed_ - planned};
}

// The row arrays are being read, so the rows wait beside them.
void StaticEngine::do_prepare(const StepPlan& next) {
  for (const SlotIndex index : next.slots) rows_ahead_.put(index, next_row(index));
}

// The smallest graph that covers the longest history, each one longer by this step's position.
LengthGraph& StaticEngine::choose_graph(const StepPlan& plan) {
  std::uint32_t longest = 0;
  for (const SlotIndex index : plan.slots) {
    const Slot& slot = slots_.at(index);
    KVRM_CHECK(slot.used);
    KVRM_CHECK_LE(slot.prompt_tokens, slot.length);
    KVRM_CHECK_LT(slot.length, setup_.max_len);
    longest = std::max(longest, slot.length + 1);
  }
  return *std::find_if(setup_.graphs.begin(), setup_.graphs.end(),
                       [&](const LengthGraph& graph) { return longest <= graph.max_length; });
}

// All but the token, which may not be sampled yet.
RowInput StaticEngine::next_row(SlotIndex index) const {
  const Slot& slot = slots_[index];
  return {.position = slot.length,
          .length = slot.length + 1,
          .history = index,
          .write_slot = setup_.kv.write_slot(index, slot.length),
          .content_key = slot.content_key};
}

void StaticEngine::fill_rows(const StepPlan& plan) {
  auto next = plan.slots.begin();
  for (SlotIndex index = 0; index < setup_.slots; ++index) {
    RowInput row;
    row.history = index;  // a padding row computes over its own slot, never over a live one
    if (next != plan.slots.end() && *next == index) {
      ++next;
      const std::optional<RowInput> ahead = rows_ahead_.take(index);
      row = ahead ? *ahead : next_row(index);
      row.token = slots_[index].last_token;
      slots_[index].length = row.length;
    }
    set_row(setup_.rows, index, row);
  }
  KVRM_CHECK(next == plan.slots.end());  // ascending and distinct
  live_positions_ += plan.slots.size();
}

void StaticEngine::count_step(const StepPlan& plan, std::uint32_t compute_length) {
  const std::uint64_t active = plan.slots.size();
  const std::uint32_t lane_tokens = setup_.kv.layers().front().layout.lane_tokens();
  std::uint64_t attended = 0;
  for (SlotIndex index = 0; index < setup_.slots; ++index) {
    const AttentionWork work =
        attention_work(setup_.rows.length[index], compute_length, lane_tokens);
    attended += work.attended;
    counters_.masked_positions += work.masked;
    counters_.blocks += divide_up(setup_.rows.length[index], block_tokens_);
  }
  counters_.attended_positions += attended;
  counters_.kv_read_bytes += attended * model_.kv_bytes_per_token();
  counters_.groups += active;  // a contiguous history is one run
  counters_.groups_minimum += active;
  counters_.rows += setup_.slots;
  counters_.padding_rows += setup_.slots - active;
  counters_.replays += 1;
}

StepResult StaticEngine::do_collect() {
  device_.wait();
  const DeviceRun device = device_.last_run();
  const Nanoseconds start = device_.clock().now();
  trace_.next(TraceName::sample);
  phases_.replay = std::max(submitted_, device.end) - committed_;
  results_.clear();
  for (const SlotIndex index : step_slots_) {
    results_.push_back(row_result(setup_.decoder.output(), index, index));
    slots_[index].last_token = results_.back().token;
  }
  phases_.sample = device_.clock().now() - start;
  trace_.end();
  return {.rows = results_, .phases = phases_, .device = device};
}

void StaticEngine::do_release(SlotIndex index) {
  Slot& slot = slots_.at(index);
  if (!slot.used) return;
  slot.used = false;
  rows_ahead_.forget(index);
  live_positions_ -= slot.length;
  --used_slots_;
}

EngineUsage StaticEngine::do_usage() const {
  EngineUsage usage;
  usage.memory.reserved_bytes = setup_.slots * setup_.slot_bytes;
  usage.memory.allocated_bytes = used_slots_ * setup_.slot_bytes;
  usage.memory.live_bytes = live_positions_ * model_.kv_bytes_per_token();
  usage.memory.graph_bytes = graph_bytes_;
  usage.memory.metadata_bytes = setup_.row_memory.bytes();
  usage.counters = counters_;
  usage.launch_hash = launch_hash_;
  usage.launch_signature = launch_signature_;
  for (const LengthGraph& graph : setup_.graphs) {
    usage.launch_hash_changes += graph.graph.launch_hash_changes();
  }
  return usage;
}

}  // namespace

Result<std::unique_ptr<Engine>> make_static_engine(const EngineSpec& spec,
                                                   const DecoderModel& model,
                                                   const KernelSet& kernels, Device& device) {
  Result<StaticSetup> setup = make_static_setup(spec, model, kernels, device);
  if (!setup) return tl::unexpected<Error>(setup.error());
  return std::make_unique<StaticEngine>(spec, model, device, *std::move(setup));
}

}  // namespace kvrm
