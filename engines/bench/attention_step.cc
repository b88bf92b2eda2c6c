#include "engines/bench/attention_step.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engines/bench/tile_copy.h"
#include "harness/base/check.h"

namespace kvrm {
namespace {

PlacedBatch placed_batch(const AttentionGround& ground) {
  const AttentionShape& shape = *ground.shape;
  PlacedBatch batch;
  batch.dtype = shape.dtype;
  batch.kv_heads = shape.kv_heads;
  batch.head_dim = shape.head_dim;
  batch.layers = shape.layers();
  batch.chunk_tokens = ground.model->shape().chunk_tokens();
  batch.max_len = shape.max_len;
  batch.lengths = shape.lengths;
  batch.pool = ground.pool;
  return batch;
}

// A row that reads its history and writes nothing.
RowInput reading_row(std::uint32_t history, std::uint32_t length) {
  return {.position = length - 1,
          .length = length,
          .history = history,
          .content_key = history + std::uint64_t{1}};
}

std::uint32_t chunks_for(const ModelShape& model, std::uint32_t length) {
  return static_cast<std::uint32_t>(divide_up(length, model.chunk_tokens()));
}

void run(Device& device, std::span<const Op> ops) {
  for (const Op& op : ops) device.launch(op);
  device.wait();
}

double relative_distance(std::span<const float> values, std::span<const float> expected) {
  double distance = 0;
  double norm = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    distance += std::pow(static_cast<double>(values[i]) - expected[i], 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(distance / norm);
}

std::span<const float> output_of(const Decoder& decoder, std::uint32_t row) {
  const DecoderOutput& output = decoder.output();
  return {output.values + std::size_t{row} * output.value_stride, output.value_count};
}

}  // namespace

Result<std::unique_ptr<AttentionStep>> AttentionStep::make(const AttentionGround& ground,
                                                           const AttentionDesign& design) {
  const auto rows = static_cast<std::uint32_t>(ground.shape->lengths.size());
  auto kv = KvPlacement::make(design.placement, placed_batch(ground), *ground.device);
  if (!kv) return tl::unexpected<Error>(kv.error());
  auto decoder = Decoder::make(*ground.model, *ground.kernels, *ground.device, rows, rows);
  if (!decoder) return tl::unexpected<Error>(decoder.error());
  auto step = std::unique_ptr<AttentionStep>(
      new AttentionStep(ground, design, *std::move(kv), *std::move(decoder)));
  if (const Status status = step->place_rows(); !status)
    return tl::unexpected<Error>(status.error());
  if (const Status status = step->build(); !status) return tl::unexpected<Error>(status.error());
  return step;
}

Status AttentionStep::place_rows() {
  const auto rows = static_cast<std::uint32_t>(ground_.shape->lengths.size());
  auto memory = ground_.device->allocate(MemoryPurpose::metadata, row_arrays_bytes(rows));
  if (!memory) return tl::unexpected<Error>(memory.error());
  row_memory_ = *std::move(memory);
  rows_ = place_row_arrays(row_memory_.data(), rows);
  for (std::uint32_t row = 0; row < rows; ++row)
    set_row(rows_, row, reading_row(row, ground_.shape->lengths[row]));
  return {};
}

Status AttentionStep::build() {
  const AttentionShape& shape = *ground_.shape;
  const ModelShape& model = ground_.model->shape();
  const auto rows = static_cast<std::uint32_t>(shape.lengths.size());
  const std::uint32_t longest = *std::max_element(shape.lengths.begin(), shape.lengths.end());
  StepShape step;
  step.rows = step.output_rows = rows;
  step.chunks = chunks_for(model, design_.compute_full ? shape.max_len : longest);
  step.compute_length = design_.compute_full ? shape.max_len : 0;
  decoder_.append_step(ops_, step, rows_, kv_.layers());
  const KernelSet& kernels = *ground_.kernels;
  for (Op op : ops_.ops()) {
    if (design_.copy_tile && op.kernel == kernels.attention) {
      if (const Status status = copy_tiles(op); !status) return status;
    }
    whole_.push_back(op);
    if (op.kernel != kernels.content && op.kernel != kernels.append_kv &&
        op.kernel != kernels.digest) {
      timed_.push_back(op);
    }
  }
  graph_ = ground_.device->record(timed_);
  return {};
}

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

Nanoseconds AttentionStep::replay() {
  Device& device = *ground_.device;
  const Nanoseconds start = device.clock().now();
  device.replay(*graph_);
  device.wait();
  return device.clock().now() - start;
}

std::uint64_t AttentionStep::bytes() const {
  const AttentionShape& shape = *ground_.shape;
  return (design_.compute_full ? shape.padded_positions() : shape.live_positions()) *
         shape.token_bytes() * shape.layers();
}

Result<double> AttentionStep::output_error() {
  run(*ground_.device, whole_);
  const auto rows = static_cast<std::uint32_t>(ground_.shape->lengths.size());
  double worst = 0;
  for (const std::uint32_t row : {0U, rows / 2, rows - 1}) {
    const Result<double> error = row_error(row);
    if (!error) return error;
    worst = std::max(worst, *error);
  }
  return worst;
}

Result<double> AttentionStep::row_error(std::uint32_t row) {
  Device& device = *ground_.device;
  auto decoder = Decoder::make(*ground_.model, *ground_.reference, device, 1, 1);
  if (!decoder) return tl::unexpected<Error>(decoder.error());
  auto memory = device.allocate(MemoryPurpose::metadata, row_arrays_bytes(1));
  if (!memory) return tl::unexpected<Error>(memory.error());
  const RowArrays rows = place_row_arrays(memory->data(), 1);
  const std::uint32_t length = ground_.shape->lengths[row];
  set_row(rows, 0, reading_row(row, length));
  OpList ops;
  decoder->append_step(
      ops, {.rows = 1, .output_rows = 1, .chunks = chunks_for(ground_.model->shape(), length)},
      rows, kv_.layers());
  run(device, ops.ops());
  return relative_distance(output_of(decoder_, row), output_of(*decoder, 0));
}

}  // namespace kvrm
