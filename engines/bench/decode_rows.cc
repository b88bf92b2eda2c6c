#include "engines/bench/decode_rows.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

PlacedBatch placed_batch(const DecodeGround& ground) {
  const ModelShape& model = ground.model->shape();
  PlacedBatch batch;
  batch.dtype = model.kv_dtype;
  batch.kv_heads = model.kv_heads;
  batch.head_dim = model.head_dim;
  batch.layers = model.layers;
  batch.chunk_tokens = model.chunk_tokens();
  batch.max_len = model.max_len;
  batch.lengths = ground.lengths;
  batch.pool = ground.pool;
  return batch;
}

std::uint32_t chunks_for(const ModelShape& model, std::uint32_t length) {
  return static_cast<std::uint32_t>(divide_up(length, model.chunk_tokens()));
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

void launch_all(Device& device, std::span<const Op> ops) {
  for (const Op& op : ops) device.launch(op);
  device.wait();
}

Nanoseconds timed_replay(Device& device, const RecordedGraph& graph) {
  const Nanoseconds start = device.clock().now();
  device.replay(graph);
  device.wait();
  return std::max<Nanoseconds>(1, device.clock().now() - start);
}

DecodeRows::DecodeRows(const DecodeGround& ground, const Options& options, KvPlacement kv,
                       Decoder decoder)
    : ground_(ground), options_(options), kv_(std::move(kv)), decoder_(std::move(decoder)) {}

Result<std::unique_ptr<DecodeRows>> DecodeRows::make(const DecodeGround& ground,
                                                     const Options& options) {
  const auto rows = static_cast<std::uint32_t>(ground.lengths.size());
  auto kv = KvPlacement::make(options.placement, placed_batch(ground), *ground.device);
  if (!kv) return tl::unexpected<Error>(kv.error());
  auto decoder = Decoder::make(*ground.model, *ground.kernels, *ground.device, rows, rows);
  if (!decoder) return tl::unexpected<Error>(decoder.error());
  auto step = std::unique_ptr<DecodeRows>(
      new DecodeRows(ground, options, *std::move(kv), *std::move(decoder)));
  if (const Status placed = step->place_rows(); !placed)
    return tl::unexpected<Error>(placed.error());
  step->build();
  return step;
}

RowInput DecodeRows::row_input(std::uint32_t row) const {
  const ModelShape& model = ground_.model->shape();
  RowInput input{.position = ground_.lengths[row] - 1,
                 .length = ground_.lengths[row],
                 .history = row,
                 .content_key = row + std::uint64_t{1}};
  if (model.kind == ModelKind::decoder) input.token = row % model.vocabulary;
  if (options_.write) {
    KVRM_CHECK(options_.placement.addressing == KvAddressing::contiguous);
    input.write_slot = std::uint64_t{row} * model.max_len + input.position;
  }
  return input;
}

Status DecodeRows::place_rows() {
  const auto rows = static_cast<std::uint32_t>(ground_.lengths.size());
  auto memory = ground_.device->allocate(MemoryPurpose::metadata, row_arrays_bytes(rows));
  if (!memory) return tl::unexpected<Error>(memory.error());
  row_memory_ = *std::move(memory);
  rows_ = place_row_arrays(row_memory_.data(), rows);
  for (std::uint32_t row = 0; row < rows; ++row) set_row(rows_, row, row_input(row));
  clear_rows(rows_, rows, static_cast<std::uint32_t>(round_up(rows, kRowTile)));
  return {};
}

void DecodeRows::build() {
  const ModelShape& model = ground_.model->shape();
  const std::uint32_t longest = *std::max_element(ground_.lengths.begin(), ground_.lengths.end());
  StepShape step;
  step.rows = step.output_rows = static_cast<std::uint32_t>(ground_.lengths.size());
  step.chunks = chunks_for(model, options_.compute_full ? model.max_len : longest);
  step.compute_length = options_.compute_full ? model.max_len : 0;
  decoder_.append_step(ops_, step, rows_, kv_.layers());
}

std::uint64_t DecodeRows::live_kv_bytes() const {
  return std::accumulate(ground_.lengths.begin(), ground_.lengths.end(), std::uint64_t{0}) *
         ground_.model->shape().kv_bytes_per_token();
}

std::uint64_t DecodeRows::padded_kv_bytes() const {
  return std::uint64_t{ground_.model->shape().max_len} * ground_.lengths.size() *
         ground_.model->shape().kv_bytes_per_token();
}

Result<double> DecodeRows::output_error() {
  const auto rows = static_cast<std::uint32_t>(ground_.lengths.size());
  double worst = 0;
  for (const std::uint32_t row : {0U, rows / 2, rows - 1}) {
    const Result<double> error = row_error(row);
    if (!error) return error;
    worst = std::max(worst, *error);
  }
  return worst;
}

Result<double> DecodeRows::row_error(std::uint32_t row) {
  Device& device = *ground_.device;
  auto decoder = Decoder::make(*ground_.model, *ground_.reference, device, 1, 1);
  if (!decoder) return tl::unexpected<Error>(decoder.error());
  auto memory = device.allocate(MemoryPurpose::metadata, row_arrays_bytes(1));
  if (!memory) return tl::unexpected<Error>(memory.error());
  const RowArrays rows = place_row_arrays(memory->data(), 1);
  set_row(rows, 0, row_input(row));
  clear_rows(rows, 1, kRowTile);
  const std::uint32_t chunks = chunks_for(ground_.model->shape(), ground_.lengths[row]);
  OpList ops;
  decoder->append_step(ops, {.rows = 1, .output_rows = 1, .chunks = chunks}, rows, kv_.layers());
  launch_all(device, ops.ops());
  return relative_distance(output_of(decoder_, row), output_of(*decoder, 0));
}

}  // namespace kvrm
