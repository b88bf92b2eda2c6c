#include "engines/paged/paged_engine.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "engines/decoder/decoder.h"
#include "engines/decoder/rows_ahead.h"
#include "engines/history/block_copies.h"
#include "engines/history/pooled_histories.h"
#include "engines/paged/block_tables.h"
#include "engines/paged/bucket_graphs.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "harness/trace/trace_range.h"
#include "kernels/linear/linear.h"

namespace kvrm {
namespace {

// What a paged engine is made of; everything that can fail has been made already.
struct Parts {
  PooledHistories histories;
  Decoder decoder;
  BlockTables tables;
  BlockCopies copies;
  Buffer row_memory;  // RowArrays of max_batch rows
};

Result<Parts> make_parts(const EngineSpec& spec, const DecoderModel& model,
                         const KernelSet& kernels, Device& device) {
  const Result<PoolPlan> plan = plan_pool(spec, model.shape(), StagingView::none);
  if (!plan) return tl::unexpected(plan.error());
  auto histories = PooledHistories::make(spec, *plan, model, kernels, device);
  if (!histories) return tl::unexpected(histories.error());
  auto decoder = Decoder::make(model, kernels, device, plan->slots, plan->slots);
  if (!decoder) return tl::unexpected(decoder.error());
  auto tables = BlockTables::make(device, plan->slots, plan->max_blocks_per_history);
  if (!tables) return tl::unexpected(tables.error());
  auto copies =
      BlockCopies::make(*plan, histories->pool(), kernels, histories->max_copies(), device);
  if (!copies) return tl::unexpected(copies.error());
  auto rows = device.allocate(MemoryPurpose::metadata, row_arrays_bytes(plan->slots));
  if (!rows) return tl::unexpected(rows.error());
  return Parts{std::move(*histories), std::move(*decoder), std::move(*tables), std::move(*copies),
               std::move(*rows)};
}

// A step's operations as `paged` plans them, for so many rows and chunks.
struct EagerStep {
  OpList ops;
  std::uint32_t rows = 0;  // 0: no step
  std::uint32_t chunks = 0;
};

class PagedEngine final : public Engine {
 public:
  PagedEngine(const EngineSpec& spec, Parts parts, Device& device);

  // Turns a `paged` into a `paged_graph`.
  void record_graphs(const BucketGrid& grid);

 private:
  const EngineInfo& do_info() const override { return histories_.info(); }
  bool do_admit(const Admission& admission) override { return histories_.admit(admission); }
  StepResult do_prefill(const PrefillChunk& chunk) override {
    return {.rows = histories_.prefill(chunk), .phases = {}};
  }
  bool do_extend(SlotIndex slot) override { return histories_.extend(slot); }
  void do_submit(const StepPlan& step) override;
  void do_prepare(const StepPlan& next) override;
  StepResult do_collect() override;
  void do_release(SlotIndex slot) override;
  EngineUsage do_usage() const override;

  std::uint32_t chunks_of(std::span<const SlotIndex> slots) const;
  RowInput row_of(SlotIndex slot, const DecodeRow& decode);
  void fill_rows(std::span<const SlotIndex> slots, std::uint32_t rows);
  void take_copies();
  void plan_eagerly(EagerStep& step, std::uint32_t rows, std::uint32_t chunks) const;
  void append_step(OpList& ops, std::uint32_t rows, std::uint32_t chunks) const;
  void launch_eagerly(std::uint32_t rows, std::uint32_t chunks);

  Device& device_;
  PooledHistories histories_;
  Decoder decoder_;
  BlockTables tables_;
  BlockCopies copies_;
  OpList copy_ops_;  // what `paged` launches before a step with copies
  Buffer row_memory_;
  RowArrays rows_;
  std::vector<LayerKv> layers_;
  std::uint32_t chunk_tokens_ = 0;
  std::unique_ptr<BucketGraphs> graphs_;  // null: `paged`
  // The step that runs and, while it runs, the one planned ahead.
  std::array<EagerStep, 2> eager_;
  std::uint32_t running_eager_ = 0;
  RowsAhead rows_ahead_;
  std::vector<SlotIndex> step_slots_;
  std::vector<RowResult> results_;
  PhaseTimes phases_;
  StepTrace trace_;            // beside the phases
  Nanoseconds committed_ = 0;  // when the step's replay or first launch was called
  Nanoseconds submitted_ = 0;
  std::uint64_t launch_hash_ = 0;
  std::uint64_t launch_signature_ = 0;
};

PagedEngine::PagedEngine(const EngineSpec& spec, Parts parts, Device& device)
    : device_(device),
      histories_(std::move(parts.histories)),
      decoder_(std::move(parts.decoder)),
      tables_(std::move(parts.tables)),
      copies_(std::move(parts.copies)),
      row_memory_(std::move(parts.row_memory)),
      rows_(place_row_arrays(row_memory_.data(), histories_.plan().slots)),
      chunk_tokens_(decoder_.model().shape().chunk_tokens()),
      rows_ahead_(histories_.plan().slots) {
  const KvSource source{.addressing = KvAddressing::table,
                        .prefetch_runs = spec.options.prefetch == Prefetch::run ? 1U : 0U,
                        .block_table = tables_.data(),
                        .table_stride = tables_.stride()};
  for (std::uint32_t layer = 0; layer < histories_.plan().layers; ++layer) {
    layers_.push_back(histories_.layer_kv(layer, source));
  }
  copies_.append(copy_ops_);
  clear_rows(rows_, 0, static_cast<std::uint32_t>(round_up(histories_.plan().slots, kRowTile)));
}

void PagedEngine::record_graphs(const BucketGrid& grid) {
  graphs_ = std::make_unique<BucketGraphs>(
      grid, device_, [this](OpList& ops, std::uint32_t rows, std::uint32_t chunks) {
        copies_.append(ops);
        append_step(ops, rows, chunks);
      });
  histories_.counters().captures += graphs_->captures();
}

void PagedEngine::append_step(OpList& ops, std::uint32_t rows, std::uint32_t chunks) const {
  decoder_.append_step(ops,
                       {.rows = rows, .first_output_row = 0, .output_rows = rows, .chunks = chunks},
                       rows_, layers_);
}

void PagedEngine::do_submit(const StepPlan& step) {
  KVRM_CHECK(!step.slots.empty());
  trace_.begin(TraceName::plan, step.step);
  const Nanoseconds start = device_.clock().now();
  const auto active = static_cast<std::uint32_t>(step.slots.size());
  const std::uint32_t chunks = chunks_of(step.slots);
  BucketGraph* bucket = graphs_ ? graphs_->find(active, chunks) : nullptr;
  const std::uint32_t rows = bucket != nullptr ? bucket->rows : active;
  step_slots_.assign(step.slots.begin(), step.slots.end());
  histories_.begin_step(step, rows);
  const Nanoseconds planned = device_.clock().now();
  trace_.next(KVRM_MUTATE(trace_commit_is_sample, TraceName::commit, TraceName::sample));
  fill_rows(step.slots, rows);
  take_copies();
  committed_ = device_.clock().now();
  trace_.next(TraceName::replay);
  EngineCounters& counters = histories_.counters();
  if (bucket != nullptr) {
    bucket->graph.replay(device_);
    launch_hash_ = bucket->graph.launch_hash();
    launch_signature_ = bucket->graph.launch_signature();
    ++counters.replays;
  } else {
    if (!histories_.copies().empty()) device_.launch(copy_ops_.ops().front());
    launch_eagerly(rows, chunks);
    counters.fallbacks += KVRM_MUTATE(paged_fallback_uncounted, graphs_ ? 1U : 0U, 0U);
  }
  histories_.clear_copies();
  submitted_ = device_.clock().now();
  phases_ = {.plan = planned - start, .commit = committed_ - planned};
}

// Blocks that a shared tail was replaced by; the list is empty in nearly every step.
void PagedEngine::take_copies() {
  const std::span<const BlockMove> moves = histories_.copies();
  copies_.set(moves);
  histories_.counters().moved_bytes += moves.size() * histories_.plan().block_bytes();
}

// Where a table only grows, past what the running step reads, it does so now. The step's row arrays
// and its list of operations are being read, so the next step's wait beside them.
void PagedEngine::do_prepare(const StepPlan& next) {
  for (const SlotIndex slot : next.slots) {
    if (!tables_.only_grows(slot, histories_.table_version(slot))) continue;
    rows_ahead_.put(slot, row_of(slot, histories_.next_row(slot)));
  }
  if (graphs_ || next.slots.empty()) return;
  plan_eagerly(eager_[1 - running_eager_], static_cast<std::uint32_t>(next.slots.size()),
               chunks_of(next.slots));
}

// Chunks of the longest row; extend() has made room for the new position already.
std::uint32_t PagedEngine::chunks_of(std::span<const SlotIndex> slots) const {
  std::uint32_t longest = 0;
  for (const SlotIndex slot : slots) longest = std::max(longest, histories_.length(slot));
  return static_cast<std::uint32_t>(divide_up(longest, chunk_tokens_));
}

// All but the token, which may not be sampled yet.
RowInput PagedEngine::row_of(SlotIndex slot, const DecodeRow& decode) {
  tables_.sync(slot, histories_.table(slot), histories_.table_version(slot));
  return {.position = decode.length - 1,
          .length = decode.length,
          .history = slot,
          .write_slot = decode.write_slot,
          .content_key = decode.content_key};
}

void PagedEngine::fill_rows(std::span<const SlotIndex> slots, std::uint32_t rows) {
  for (std::uint32_t row = 0; row < slots.size(); ++row) {
    const SlotIndex slot = slots[row];
    const std::optional<RowInput> ahead = rows_ahead_.take(slot);
    RowInput input = ahead ? *ahead : row_of(slot, histories_.decode_row(slot));
    input.token = histories_.last_token(slot);
    set_row(rows_, row, input);
    EngineCounters& counters = histories_.counters();
    counters.groups += histories_.run_count(slot);
    counters.groups_minimum += histories_.run_count(slot);
    counters.blocks += histories_.table(slot).size();
  }
  clear_rows(rows_, static_cast<std::uint32_t>(slots.size()),
             static_cast<std::uint32_t>(round_up(rows, kRowTile)));
}

void PagedEngine::plan_eagerly(EagerStep& step, std::uint32_t rows, std::uint32_t chunks) const {
  step.ops.clear();
  append_step(step.ops, rows, chunks);
  step.rows = rows;
  step.chunks = chunks;
}

// Every step is planned anew, ahead or now; a plan ahead serves only the step that it was made for.
void PagedEngine::launch_eagerly(std::uint32_t rows, std::uint32_t chunks) {
  EagerStep& ahead = eager_[1 - running_eager_];
  const bool planned = ahead.rows == rows && ahead.chunks == chunks;
  ahead.rows = 0;
  if (planned) running_eager_ = 1 - running_eager_;
  EagerStep& step = eager_[running_eager_];
  if (!planned) plan_eagerly(step, rows, chunks);
  for (const Op& op : step.ops.ops()) device_.launch(op);
  histories_.counters().launches += step.ops.ops().size();
}

StepResult PagedEngine::do_collect() {
  device_.wait();
  const DeviceRun device = device_.last_run();
  const Nanoseconds start = device_.clock().now();
  trace_.next(TraceName::sample);
  phases_.replay = std::max(submitted_, device.end) - committed_;
  results_.clear();
  for (std::uint32_t row = 0; row < step_slots_.size(); ++row) {
    results_.push_back(row_result(decoder_.output(), row, step_slots_[row]));
  }
  histories_.finish_step(results_);
  phases_.sample = device_.clock().now() - start;
  trace_.end();
  return {.rows = results_, .phases = phases_, .device = device};
}

void PagedEngine::do_release(SlotIndex slot) {
  rows_ahead_.forget(slot);
  histories_.release(slot);
  tables_.clear(slot);
}

EngineUsage PagedEngine::do_usage() const {
  EngineUsage usage{.memory = histories_.memory(),
                    .counters = histories_.counters(),
                    .launch_hash = launch_hash_,
                    .launch_hash_changes = graphs_ ? graphs_->launch_hash_changes() : 0,
                    .launch_signature = launch_signature_,
                    .runs_by_blocks = histories_.runs_by_blocks(),
                    .groups_by_blocks = histories_.runs_by_blocks()};
  usage.memory.graph_bytes = graphs_ ? graphs_->bytes() : 0;
  usage.memory.metadata_bytes += tables_.bytes() + copies_.bytes() + row_memory_.bytes();
  for (const EagerStep& step : eager_) usage.memory.metadata_bytes += step.ops.bytes();
  return usage;
}

Result<std::unique_ptr<PagedEngine>> make(const EngineSpec& spec, const DecoderModel& model,
                                          const KernelSet& kernels, Device& device) {
  return make_parts(spec, model, kernels, device).map([&](Parts parts) {
    return std::make_unique<PagedEngine>(spec, std::move(parts), device);
  });
}

}  // namespace

Result<std::unique_ptr<Engine>> make_paged_engine(const EngineSpec& spec, const DecoderModel& model,
                                                  const KernelSet& kernels, Device& device) {
  return make(spec, model, kernels, device)
      .map([](std::unique_ptr<PagedEngine> engine) -> std::unique_ptr<Engine> { return engine; });
}

Result<std::unique_ptr<Engine>> make_paged_graph_engine(const EngineSpec& spec,
                                                        const DecoderModel& model,
                                                        const KernelSet& kernels, Device& device) {
  const Result<BucketGrid> grid = bucket_grid(spec, model.shape());
  if (!grid) return tl::unexpected(grid.error());
  return make(spec, model, kernels, device)
      .map([&](std::unique_ptr<PagedEngine> engine) -> std::unique_ptr<Engine> {
        engine->record_graphs(*grid);
        return engine;
      });
}

}  // namespace kvrm
