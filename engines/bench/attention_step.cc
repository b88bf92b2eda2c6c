#include "engines/bench/attention_step.h"

#include <utility>

#include "engines/bench/tile_copy.h"
#include "harness/base/check.h"

namespace kvrm {

Result<std::unique_ptr<AttentionStep>> AttentionStep::make(const DecodeGround& ground,
                                                           const AttentionDesign& design) {
  auto rows = DecodeRows::make(
      ground, {.placement = design.placement, .compute_full = design.compute_full});
  if (!rows) return tl::unexpected<Error>(rows.error());
  auto step = std::unique_ptr<AttentionStep>(new AttentionStep(ground, design, *std::move(rows)));
  if (const Status status = step->build(); !status) return tl::unexpected<Error>(status.error());
  return step;
}

Status AttentionStep::build() {
  const KernelSet& kernels = *ground_.kernels;
  std::vector<Op> timed;
  for (Op op : rows_->ops()) {
    if (design_.copy_tile && op.kernel == kernels.attention) {
      if (const Status status = copy_tiles(op); !status) return status;
    }
    if (design_.copy_tile && op.kernel == kernels.attention_merge) merge_chunks(op);
    whole_.push_back(op);
    if (op.kernel != kernels.content && op.kernel != kernels.append_kv &&
        op.kernel != kernels.digest) {
      timed.push_back(op);
    }
  }
  graph_ = ground_.device->record(timed);
  return {};
}

// Puts a copying operation in an attention's place.
Status AttentionStep::copy_tiles(Op& op) {
  TileCopyArgs args;
  args.attention = *static_cast<const AttentionArgs*>(op.args);
  const std::uint32_t chunks = args.attention.rows * args.attention.chunks;
  KVRM_CHECK_EQ(op.items % chunks, 0U);
  args.kernel = op.kernel;
  args.items_per_chunk = op.items / chunks;
  args.tile_bytes = tile_copy_bytes(args.attention);
  if (tiles_.data() == nullptr) {
    auto tiles = ground_.device->allocate(MemoryPurpose::kv_view,
                                          ground_.device->info().workers * args.tile_bytes);
    if (!tiles) return tl::unexpected<Error>(tiles.error());
    tiles_ = *std::move(tiles);
  }
  args.tiles = tiles_.data();
  tile_ops_.add(&tile_copy_kernel(), args, chunks);
  op = tile_ops_.ops().back();
  return {};
}

// Tiles are copied chunk by chunk, so each chunk has a partial.
void AttentionStep::merge_chunks(Op& op) {
  AttentionMergeArgs args = *static_cast<const AttentionMergeArgs*>(op.args);
  args.wanted_items = 0;
  tile_ops_.add(op.kernel, args, op.items);
  op = tile_ops_.ops().back();
}

std::uint64_t AttentionStep::bytes() const {
  return design_.compute_full ? rows_->padded_kv_bytes() : rows_->live_kv_bytes();
}

Result<double> AttentionStep::output_error() {
  launch_all(*ground_.device, whole_);
  return rows_->output_error();
}

}  // namespace kvrm
