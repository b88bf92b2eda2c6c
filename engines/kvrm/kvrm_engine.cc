#include "engines/kvrm/kvrm_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "engines/kvrm/kvrm_graph.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "kernels/linear/linear.h"

namespace kvrm {
namespace {

StagingView view_of(Transport transport) {
  switch (transport) {
    case Transport::fused:
      return StagingView::none;
    case Transport::full:
      return StagingView::one_layer;
    case Transport::delta:
      return StagingView::every_layer;
    case Transport::remap:
      return StagingView::mapped;
  }
  return StagingView::none;
}

Result<MergePolicy> merge_policy(const EngineSpec& spec, const PoolPlan& plan) {
  const EngineOptions& options = spec.options;
  if (options.max_gap_blocks > 0 && options.transport != Transport::fused) {
    return bad_input(
        fmt::format("{}: merge.max_gap_blocks is {}; only transport fused reads blocks in place: "
                    "in a contiguous view those of a hole have no place",
                    spec.label, options.max_gap_blocks));
  }
  // A cap below one block still lets a block through: it is the least that can be moved.
  const std::uint64_t block = plan.layout.block_bytes();
  const std::uint64_t cap = options.max_group_bytes == 0
                                ? 0
                                : std::max<std::uint64_t>(options.max_group_bytes / block, 1);
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  return MergePolicy{
      .max_gap_blocks = static_cast<std::uint32_t>(std::min(options.max_gap_blocks, kMost)),
      .max_group_blocks = static_cast<std::uint32_t>(std::min(cap, kMost))};
}

StepLimits step_limits(const PoolPlan& plan, const ModelShape& shape, std::uint32_t max_copies) {
  const std::uint64_t positions =
      std::uint64_t{plan.max_blocks_per_history} * plan.layout.block_tokens;
  // Beyond a group a slot and some, restaging everything is not much more.
  const std::uint32_t stage_copies =
      plan.view == StagingView::every_layer ? 8 * plan.slots + 64 : 0;
  StepLimits limits{.shape = {.slots = plan.slots,
                              .max_blocks = plan.max_blocks_per_history,
                              .max_chunks = static_cast<std::uint32_t>(
                                  divide_up(positions, shape.chunk_tokens())),
                              .extra_block_copies = max_copies - plan.slots,
                              .max_stage_copies = stage_copies},
                    .pool_blocks = plan.pool_blocks,
                    .block_tokens = plan.layout.block_tokens,
                    .tile_tokens = shape.tile_tokens,
                    .max_length = static_cast<std::uint32_t>(positions),
                    .max_position = plan.max_length,
                    .vocabulary = shape.kind == ModelKind::decoder ? shape.vocabulary : 0};
  limits.max_table_bytes = default_max_table_bytes(limits.shape);
  return limits;
}

}  // namespace

Result<KvrmEngine::Parts> KvrmEngine::make_parts(const EngineSpec& spec, const DecoderModel& model,
                                                 const KernelSet& kernels, Device& device) {
  const Result<PoolPlan> plan = plan_pool(spec, model.shape(), view_of(spec.options.transport));
  if (!plan) return tl::unexpected(plan.error());
  const Result<MergePolicy> policy = merge_policy(spec, *plan);
  if (!policy) return tl::unexpected(policy.error());
  auto histories = PooledHistories::make(spec, *plan, model, kernels, device);
  if (!histories) return tl::unexpected(histories.error());
  auto decoder = Decoder::make(model, kernels, device, plan->slots, plan->slots);
  if (!decoder) return tl::unexpected(decoder.error());
  auto descriptor =
      StepDescriptor::make(step_limits(*plan, model.shape(), histories->max_copies()), device);
  if (!descriptor) return tl::unexpected(descriptor.error());
  auto view_slots = device.allocate(MemoryPurpose::metadata,
                                    round_up(plan->slots, kRowTile) * sizeof(std::uint64_t));
  if (!view_slots) return tl::unexpected(view_slots.error());
  return Parts{std::move(*histories),
               std::move(*decoder),
               std::move(*descriptor),
               std::move(*view_slots),
               {.transport = spec.options.transport,
                .groups = {.slots = plan->slots,
                           .max_blocks = plan->max_blocks_per_history,
                           .block_tokens = plan->layout.block_tokens,
                           .chunk_tokens = model.shape().chunk_tokens(),
                           .policy = *policy}}};
}

Result<std::unique_ptr<KvrmEngine>> KvrmEngine::make(const EngineSpec& spec,
                                                     const DecoderModel& model,
                                                     const KernelSet& kernels, Device& device) {
  Result<Parts> parts = make_parts(spec, model, kernels, device);
  if (!parts) return tl::unexpected(parts.error());
  std::unique_ptr<KvrmEngine> engine(new KvrmEngine(spec, std::move(*parts), kernels, device));
  if (spec.descriptor_log.file.empty()) return engine;
  if (Status started = engine->start_log(spec); !started) return tl::unexpected(started.error());
  return engine;
}

KvrmEngine::KvrmEngine(const EngineSpec& spec, Parts parts, const KernelSet& kernels,
                       Device& device)
    : device_(device),
      histories_(std::move(parts.histories)),
      decoder_(std::move(parts.decoder)),
      descriptor_(std::move(parts.descriptor)),
      view_slots_(std::move(parts.view_slots)),
      planner_(parts.planner, histories_, descriptor_),
      graph_(device, kvrm_step_ops({.options = spec.options,
                                    .plan = histories_.plan(),
                                    .pool = histories_.pool(),
                                    .decoder = decoder_,
                                    .descriptor = descriptor_,
                                    .kernels = kernels,
                                    .view_slots = view_slots_.as<std::uint64_t>().data()})) {
  ++histories_.counters().captures;
}

KvrmEngine::~KvrmEngine() {
  if (log_) log_->close();
}

Status KvrmEngine::start_log(const EngineSpec& spec) {
  Result<EngineLog> log = EngineLog::create(
      spec.descriptor_log.file, {.limits = descriptor_.limits(),
                                 .chunk_tokens = decoder_.model().shape().chunk_tokens(),
                                 .fingerprint = log_fingerprint(spec, decoder_.model())});
  if (!log) return tl::unexpected(log.error());
  log_.emplace(std::move(*log));
  log_->experiment(spec.descriptor_log.experiment);
  return {};
}

bool KvrmEngine::do_admit(const Admission& admission) {
  if (!histories_.admit(admission)) return false;
  if (log_) log_->admit(admission);
  return true;
}

StepResult KvrmEngine::do_prefill(const PrefillChunk& chunk) {
  if (log_) log_->prefill(chunk);
  return {.rows = histories_.prefill(chunk), .phases = {}};
}

bool KvrmEngine::do_extend(SlotIndex slot) {
  if (!histories_.extend(slot)) return false;
  if (log_) log_->extend(slot, in_flight_);
  return true;
}

void KvrmEngine::do_submit(const StepPlan& step) {
  KVRM_CHECK(!step.slots.empty());
  trace_.begin(TraceName::plan, step.step);
  const Nanoseconds start = device_.clock().now();
  histories_.begin_step(step, histories_.plan().slots);
  planner_.plan(step.slots);
  const Nanoseconds planned = device_.clock().now();
  phases_ = {.plan = planned - start};
  trace_.next(TraceName::commit);
  if (histories_.plan().view == StagingView::mapped) map_views();
  commit();
  if (log_) log_->submit(step, descriptor_.record());
  committed_ = device_.clock().now();
  phases_.commit = committed_ - planned;
  trace_.next(TraceName::replay);
  graph_.replay(device_);
  ++histories_.counters().replays;
  submitted_ = device_.clock().now();
  in_flight_ = true;
}

void KvrmEngine::do_prepare(const StepPlan& next) { planner_.prepare(next.slots); }

// Nothing reads the views: the step before has been collected. A system that refuses a mapping that
// was preflighted leaves no way to go on.
void KvrmEngine::map_views() {
  const Nanoseconds start = device_.clock().now();
  const Status mapped = planner_.map_views();
  KVRM_CHECK_EQ(mapped ? "mapped" : mapped.error().message, "mapped");
  phases_.remap = device_.clock().now() - start;
}

void KvrmEngine::commit() {
  const CommitResult result = descriptor_.commit();
  EngineCounters& counters = histories_.counters();
  ++counters.commits;
  counters.full_commits +=
      KVRM_MUTATE(engine_full_commit_uncounted, result.kind == CommitKind::full ? 1U : 0U, 0U);
  counters.descriptor_bytes += result.bytes;
}

std::vector<std::byte> KvrmEngine::expected_image() const {
  return resolved_image(descriptor_.builder().shadow(), descriptor_.limits().shape,
                        planner_.consumed());
}

StepResult KvrmEngine::do_collect() {
  device_.wait();
  in_flight_ = false;
  const DeviceRun device = device_.last_run();
  const Nanoseconds start = device_.clock().now();
  trace_.next(TraceName::sample);
  phases_.replay = std::max(submitted_, device.end) - committed_;
  // A record that did not arrive as it was built means that memory was overwritten.
  KVRM_CHECK_EQ(std::string(apply_status_name(descriptor_.status())), "ok");
  take_rows(planner_.step_slots());
  phases_.sample = device_.clock().now() - start;
  KVRM_MUTATE(trace_sample_left_open, trace_.end(), void());
  return {.rows = results_, .phases = phases_, .device = device};
}

void KvrmEngine::take_rows(std::span<const SlotIndex> slots) {
  results_.clear();
  for (const SlotIndex slot : slots) {
    results_.push_back(row_result(decoder_.output(), slot, slot));
  }
  histories_.finish_step(results_);
}

Status KvrmEngine::submit_logged(const StepPlan& step, std::span<const std::byte> record) {
  trace_.begin(TraceName::commit, step.step);
  histories_.begin_step(step, histories_.plan().slots);
  KVRM_MUTATE(engine_logged_copies_done_twice, histories_.clear_copies(), void());
  if (histories_.plan().view == StagingView::mapped) {
    planner_.plan_views(step.slots);
    map_views();
  }
  if (!descriptor_.publish(record)) return bad_input("is not as long as it says");
  trace_.next(TraceName::replay);
  graph_.replay(device_);
  device_.wait();
  if (descriptor_.status() != ApplyStatus::ok) {
    return bad_input(fmt::format("was refused: {}", apply_status_name(descriptor_.status())));
  }
  return {};
}

StepResult KvrmEngine::collect_logged(std::span<const SlotIndex> slots) {
  trace_.next(TraceName::sample);
  take_rows(slots);
  trace_.end();
  return {.rows = results_, .phases = {}, .device = {}};
}

void KvrmEngine::do_release(SlotIndex slot) {
  if (log_) log_->release(slot);
  histories_.release(slot);
  planner_.release(slot);
}

EngineUsage KvrmEngine::do_usage() const {
  EngineUsage usage{.memory = histories_.memory(),
                    .counters = histories_.counters(),
                    .launch_hash = graph_.launch_hash(),
                    .launch_hash_changes = graph_.launch_hash_changes(),
                    .launch_signature = graph_.launch_signature(),
                    .runs_by_blocks = histories_.runs_by_blocks(),
                    .groups_by_blocks = planner_.groups_by_blocks(),
                    .failure = log_ ? log_->failure() : std::string()};
  usage.memory.graph_bytes = graph_.bytes();
  usage.memory.metadata_bytes += descriptor_.device_bytes() + descriptor_.builder().bytes() +
                                 view_slots_.bytes() + planner_.bytes();
  return usage;
}

Result<std::unique_ptr<Engine>> make_kvrm_engine(const EngineSpec& spec, const DecoderModel& model,
                                                 const KernelSet& kernels, Device& device) {
  return KvrmEngine::make(spec, model, kernels, device)
      .map([](std::unique_ptr<KvrmEngine> engine) -> std::unique_ptr<Engine> { return engine; });
}

}  // namespace kvrm
