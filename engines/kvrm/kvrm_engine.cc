#include "engines/kvrm/kvrm_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "harness/base/units.h"

namespace kvrm {
namespace {

Result<MergePolicy> merge_policy(const EngineSpec& spec, const PoolPlan& plan) {
  const EngineOptions& options = spec.options;
  if (options.max_gap_blocks > 0 && options.transport == Transport::full) {
    return bad_input(
        fmt::format("{}: merge.max_gap_blocks is {}; transport full copies groups into a "
                    "contiguous view, where "
                    "the blocks of a hole have no place: only 0 is allowed",
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

StepLimits step_limits(const PoolPlan& plan, const ModelShape& shape) {
  const std::uint64_t positions =
      std::uint64_t{plan.max_blocks_per_history} * plan.layout.block_tokens;
  StepLimits limits{.shape = {.slots = plan.slots,
                              .max_blocks = plan.max_blocks_per_history,
                              .max_chunks = static_cast<std::uint32_t>(
                                  divide_up(positions, shape.chunk_tokens()))},
                    .pool_blocks = plan.pool_blocks,
                    .block_tokens = plan.layout.block_tokens,
                    .tile_tokens = shape.tile_tokens,
                    .max_length = plan.max_length,
                    .max_position = plan.max_length,
                    .vocabulary = shape.kind == ModelKind::decoder ? shape.vocabulary : 0};
  limits.max_table_bytes = default_max_table_bytes(limits.shape);
  return limits;
}

}  // namespace

Result<KvrmEngine::Parts> KvrmEngine::make_parts(const EngineSpec& spec, const DecoderModel& model,
                                                 const KernelSet& kernels, Device& device) {
  const StagingView view =
      spec.options.transport == Transport::full ? StagingView::one_layer : StagingView::none;
  const Result<PoolPlan> plan = plan_pool(spec, model.shape(), view);
  if (!plan) return tl::unexpected(plan.error());
  const Result<MergePolicy> policy = merge_policy(spec, *plan);
  if (!policy) return tl::unexpected(policy.error());
  auto histories = PooledHistories::make(spec, *plan, model, kernels, device);
  if (!histories) return tl::unexpected(histories.error());
  auto decoder = Decoder::make(model, kernels, device, plan->slots, plan->slots);
  if (!decoder) return tl::unexpected(decoder.error());
  auto descriptor = StepDescriptor::make(step_limits(*plan, model.shape()), device);
  if (!descriptor) return tl::unexpected(descriptor.error());
  return Parts{std::move(*histories),
               std::move(*decoder),
               std::move(*descriptor),
               {.slots = plan->slots,
                .max_blocks = plan->max_blocks_per_history,
                .block_tokens = plan->layout.block_tokens,
                .chunk_tokens = model.shape().chunk_tokens(),
                .policy = *policy}};
}

Result<std::unique_ptr<KvrmEngine>> KvrmEngine::make(const EngineSpec& spec,
                                                     const DecoderModel& model,
                                                     const KernelSet& kernels, Device& device) {
  return make_parts(spec, model, kernels, device).map([&](Parts parts) {
    return std::unique_ptr<KvrmEngine>(new KvrmEngine(spec, std::move(parts), kernels, device));
  });
}

KvrmEngine::KvrmEngine(const EngineSpec& spec, Parts parts, const KernelSet& kernels,
                       Device& device)
    : device_(device),
      transport_(spec.options.transport),
      histories_(std::move(parts.histories)),
      decoder_(std::move(parts.decoder)),
      descriptor_(std::move(parts.descriptor)),
      groups_(parts.groups),
      sampled_(histories_.plan().slots),
      consumed_(histories_.plan().slots, kNoToken) {
  record_graph(spec, kernels);
}

void KvrmEngine::record_graph(const EngineSpec& spec, const KernelSet& kernels) {
  const PoolPlan& plan = histories_.plan();
  const ModelShape& shape = decoder_.model().shape();
  std::vector<LayerKv> layers;
  for (std::uint32_t layer = 0; layer < plan.layers; ++layer) {
    layers.push_back(histories_.layer_kv(layer, kv_source(spec)));
  }
  Decoder::BeforeAttention gather;
  if (transport_ == Transport::full) {
    gather = [&](OpList& ops, std::uint32_t layer) {
      append_gather(ops, kernels.gather_groups, layer);
    };
  }
  OpList ops;
  descriptor_.append_apply(ops, decoder_.output().token);
  decoder_.append_step(
      ops,
      {.rows = plan.slots,
       .first_output_row = 0,
       .output_rows = plan.slots,
       .chunks = static_cast<std::uint32_t>(divide_up(plan.max_length, shape.chunk_tokens()))},
      descriptor_.image().rows, layers, gather);
  graph_.emplace(device_, std::move(ops));
  ++histories_.counters().captures;
}

KvSource KvrmEngine::kv_source(const EngineSpec& spec) const {
  if (transport_ == Transport::full) {
    return {.addressing = KvAddressing::contiguous,
            .base = histories_.pool().view(),
            .history_stride = histories_.plan().view_stride};
  }
  const StepImage& image = descriptor_.image();
  const StepImageShape& shape = descriptor_.limits().shape;
  return {.addressing = KvAddressing::groups,
          .prefetch_runs = spec.options.prefetch == Prefetch::run ? 1U : 0U,
          .groups = image.groups,
          .chunk_group = image.chunk_group,
          .table_stride = shape.group_stride(),
          .chunk_stride = shape.max_chunks};
}

void KvrmEngine::append_gather(OpList& ops, const Kernel* kernel, std::uint32_t layer) const {
  const PoolPlan& plan = histories_.plan();
  // Value-initialised, so that the padding is zero as the launch hash wants it.
  auto args = GatherGroupsArgs();
  args.block_bytes = plan.layout.block_bytes();
  args.pool = histories_.pool().layer(layer);
  args.view = histories_.pool().view();
  args.view_stride = plan.view_stride;
  args.groups = descriptor_.image().groups;
  args.group_stride = descriptor_.limits().shape.group_stride();
  ops.add(kernel, args, plan.slots);
}

void KvrmEngine::do_submit(const StepPlan& step) {
  KVRM_CHECK(!step.slots.empty());
  const Nanoseconds start = device_.clock().now();
  histories_.begin_step(step, histories_.plan().slots);
  plan_step(step.slots);
  const Nanoseconds planned = device_.clock().now();
  commit();
  const Nanoseconds committed = device_.clock().now();
  graph_->replay(device_);
  ++histories_.counters().replays;
  phases_ = {.plan = planned - start,
             .commit = committed - planned,
             .replay = device_.clock().now() - committed};
}

// The edits that turn the last step's image into this one's.
void KvrmEngine::plan_step(std::span<const SlotIndex> slots) {
  std::vector<SlotIndex>& last = step_slots_;
  auto next = slots.begin();
  for (const SlotIndex slot : last) {
    next = std::lower_bound(next, slots.end(), slot);
    if (next == slots.end() || *next != slot) deactivate(slot);
  }
  for (const SlotIndex slot : slots) activate(slot);
  last.assign(slots.begin(), slots.end());
}

void KvrmEngine::activate(SlotIndex slot) {
  const std::span<const BlockIndex> table = histories_.table(slot);
  if (groups_.blocks(slot) < table.size()) {
    edits_.clear();
    groups_.append(slot, table.subspan(groups_.blocks(slot)), edits_);
    descriptor_.builder().edit_tables(edits_);
  }
  const DecodeRow row = histories_.decode_row(slot);
  const bool on_device = sampled_[slot] && row.token != kNoToken;
  descriptor_.builder().edit_slot({.slot = slot,
                                   .flags = kSlotActive | (on_device ? 0U : kTokenGiven),
                                   .token = on_device ? kNoToken : row.token,
                                   .position = row.length - 1,
                                   .length = row.length,
                                   .write_slot = row.write_slot,
                                   .content_key = row.content_key});
  consumed_[slot] = row.token;
  sampled_[slot] = true;
  EngineCounters& counters = histories_.counters();
  counters.groups += groups_.streams(slot);
}

// A slot outside the step has no groups either: padding rows read no live KV, and `full` copies
// none for them.
void KvrmEngine::deactivate(SlotIndex slot) {
  clear_groups(slot);
  descriptor_.builder().edit_slot(inactive_slot(slot));
  sampled_[slot] = false;
}

void KvrmEngine::clear_groups(SlotIndex slot) {
  edits_.clear();
  groups_.clear(slot, edits_);
  descriptor_.builder().edit_tables(edits_);
}

void KvrmEngine::commit() {
  const CommitResult result = descriptor_.commit();
  EngineCounters& counters = histories_.counters();
  ++counters.commits;
  counters.full_commits += result.kind == CommitKind::full ? 1 : 0;
  counters.descriptor_bytes += result.bytes;
  if (transport_ == Transport::full) {
    counters.moved_bytes += groups_.total_blocks() * histories_.plan().block_bytes();
  }
}

std::vector<std::byte> KvrmEngine::expected_image() const {
  return resolved_image(descriptor_.builder().shadow(), descriptor_.limits().shape, consumed_);
}

StepResult KvrmEngine::do_collect() {
  const Nanoseconds start = device_.clock().now();
  // A record that did not arrive as it was built means that memory was overwritten.
  KVRM_CHECK_EQ(std::string(apply_status_name(descriptor_.status())), "ok");
  results_.clear();
  for (const SlotIndex slot : step_slots_) {
    results_.push_back(row_result(decoder_.output(), slot, slot));
  }
  histories_.finish_step(results_);
  phases_.sample = device_.clock().now() - start;
  return {.rows = results_, .phases = phases_};
}

void KvrmEngine::do_release(SlotIndex slot) {
  histories_.release(slot);
  clear_groups(slot);
  sampled_[slot] = false;
}

EngineUsage KvrmEngine::do_usage() const {
  EngineUsage usage{.memory = histories_.memory(),
                    .counters = histories_.counters(),
                    .launch_hash = graph_->launch_hash(),
                    .launch_hash_changes = graph_->launch_hash_changes()};
  usage.memory.graph_bytes = graph_->bytes();
  usage.memory.metadata_bytes +=
      descriptor_.device_bytes() + descriptor_.builder().bytes() + groups_.bytes();
  return usage;
}

Result<std::unique_ptr<Engine>> make_kvrm_engine(const EngineSpec& spec, const DecoderModel& model,
                                                 const KernelSet& kernels, Device& device) {
  return KvrmEngine::make(spec, model, kernels, device)
      .map([](std::unique_ptr<KvrmEngine> engine) -> std::unique_ptr<Engine> { return engine; });
}

}  // namespace kvrm
