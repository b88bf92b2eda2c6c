#include "engines/kvrm/kvrm_graph.h"

#include <vector>

#include "harness/base/units.h"

namespace kvrm {
namespace {

// Items of a copying node: enough for every worker, few enough to cost nothing when there is
// nothing to copy.
constexpr std::uint32_t kCopyItems = 16;

// Arguments are value-initialised, so that their padding is zero as the launch hash wants it.

void append_far_updates(OpList& ops, const GraphParts& parts) {
  auto args = FarUpdateArgs();
  args.layout = parts.plan.layout;
  args.layer_bytes = parts.plan.layer_bytes();
  args.pool = parts.pool.layer(0);
  args.updates = parts.descriptor.image().far_updates;
  args.count = &parts.descriptor.image().counts->far_updates;
  ops.add(parts.kernels.far_update, args, parts.plan.layers * parts.plan.layout.kv_heads);
}

void append_block_copies(OpList& ops, const GraphParts& parts) {
  auto args = CopyBlocksArgs();
  args.block_bytes = parts.plan.layout.block_bytes();
  args.layer_bytes = parts.plan.layer_bytes();
  args.pool = parts.pool.layer(0);
  args.copies = parts.descriptor.image().block_copies;
  args.count = &parts.descriptor.image().counts->block_copies;
  args.layers = parts.plan.layers;
  args.items = kCopyItems;
  ops.add(parts.kernels.copy_blocks, args, kCopyItems);
}

void append_staging(OpList& ops, const GraphParts& parts) {
  const StepImage& image = parts.descriptor.image();
  auto args = StageGroupsArgs();
  args.block_bytes = parts.plan.layout.block_bytes();
  args.layer_bytes = parts.plan.layer_bytes();
  args.pool = parts.pool.layer(0);
  args.view = parts.pool.writable_view();
  args.view_stride = parts.plan.view_stride;
  args.view_layer_bytes = parts.plan.view_layer_bytes();
  args.copies = image.stage_copies;
  args.count = &image.counts->stage_copies;
  args.layers = parts.plan.layers;
  args.items = kCopyItems;
  args.rows = parts.plan.slots;
  args.group_stride = parts.descriptor.limits().shape.group_stride();
  args.stage_all = &image.counts->stage_all;
  args.length = image.rows.length;
  args.groups = image.groups;
  ops.add(parts.kernels.stage_groups, args, kCopyItems);
}

void append_view_slots(OpList& ops, const GraphParts& parts) {
  auto args = ViewSlotsArgs();
  args.rows = parts.plan.slots;
  args.row_tokens =
      std::uint64_t{parts.plan.max_blocks_per_history} * parts.plan.layout.block_tokens;
  args.length = parts.descriptor.image().rows.length;
  args.write_slot = parts.view_slots;
  ops.add(parts.kernels.view_slots, args, 1);
}

void append_gather(OpList& ops, const GraphParts& parts, std::uint32_t layer) {
  auto args = GatherGroupsArgs();
  args.block_bytes = parts.plan.layout.block_bytes();
  args.pool = parts.pool.layer(layer);
  args.view = parts.pool.writable_view();
  args.view_stride = parts.plan.view_stride;
  args.groups = parts.descriptor.image().groups;
  args.group_stride = parts.descriptor.limits().shape.group_stride();
  args.rows = parts.plan.slots;
  args.length = parts.descriptor.image().rows.length;
  args.token_bytes = parts.plan.layout.block_bytes() / parts.plan.layout.block_tokens;
  ops.add(parts.kernels.gather_groups, args, parts.plan.slots);
}

LayerKv layer_kv(const GraphParts& parts, std::uint32_t layer) {
  const StepImage& image = parts.descriptor.image();
  const StepImageShape& shape = parts.descriptor.limits().shape;
  KvSource source{.prefetch_runs = parts.options.prefetch == Prefetch::run ? 1U : 0U,
                  .far_bias_stride = shape.max_blocks,
                  .far_bias = image.far_bias};
  if (parts.plan.view == StagingView::none) {
    source.addressing = KvAddressing::groups;
    source.base = parts.pool.layer(layer);
    source.groups = image.groups;
    source.chunk_group = image.chunk_group;
    source.table_stride = shape.group_stride();
    source.chunk_stride = shape.max_chunks;
  } else {
    source.addressing = KvAddressing::contiguous;
    source.base = parts.pool.view(layer);
    source.history_stride = parts.plan.view_stride;
  }
  LayerKv kv{.layout = parts.plan.layout, .write_pool = parts.pool.layer(layer), .source = source};
  if (parts.plan.view == StagingView::every_layer) {
    kv.mirror_pool = parts.pool.writable_view() + layer * parts.plan.view_layer_bytes();
    kv.mirror_slot = parts.view_slots;
  }
  return kv;
}

}  // namespace

OpList kvrm_step_ops(const GraphParts& parts) {
  const ModelShape& model = parts.decoder.model().shape();
  OpList ops;
  parts.descriptor.append_apply(ops, parts.decoder.output().token);
  append_far_updates(ops, parts);
  append_block_copies(ops, parts);
  if (parts.plan.view == StagingView::every_layer) {
    append_staging(ops, parts);
    append_view_slots(ops, parts);
  }
  std::vector<LayerKv> layers;
  for (std::uint32_t layer = 0; layer < parts.plan.layers; ++layer) {
    layers.push_back(layer_kv(parts, layer));
  }
  Decoder::BeforeAttention gather;
  if (parts.plan.view == StagingView::one_layer) {
    gather = [&](OpList& list, std::uint32_t layer) { append_gather(list, parts, layer); };
  }
  const auto chunks =
      static_cast<std::uint32_t>(divide_up(parts.plan.max_length, model.chunk_tokens()));
  parts.decoder.append_step(ops,
                            {.rows = parts.plan.slots,
                             .first_output_row = 0,
                             .output_rows = parts.plan.slots,
                             .chunks = chunks},
                            parts.descriptor.image().rows, layers, gather);
  return ops;
}

}  // namespace kvrm
