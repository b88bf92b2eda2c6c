#include "engines/decoder/prefill.h"

#include <algorithm>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/units.h"
#include "harness/contract/content.h"

namespace kvrm {
namespace {

// Wide enough for full row tiles in matrix products, narrow enough for activations to stay small.
constexpr std::uint32_t kMaxRows = 512;

RowView view_of(const Prefill::Chunk& chunk, std::uint32_t position) {
  if (chunk.view) return chunk.view(position);
  return {.length = position + 1, .far = {}};
}

}  // namespace

std::uint32_t Prefill::rows_for_budget(std::uint32_t prefill_tokens) {
  return prefill_tokens == 0 ? kMaxRows : std::min(prefill_tokens, kMaxRows);
}

Result<Prefill> Prefill::make(const DecoderModel& model, const KernelSet& kernels, Device& device,
                              std::uint32_t max_rows) {
  auto decoder = Decoder::make(model, kernels, device, max_rows, 1);
  if (!decoder) return tl::unexpected<Error>(decoder.error());
  auto memory = device.allocate(MemoryPurpose::metadata, row_arrays_bytes(max_rows));
  if (!memory) return tl::unexpected<Error>(memory.error());
  return Prefill(*std::move(decoder), *std::move(memory), device, max_rows);
}

Prefill::Prefill(Decoder decoder, Buffer row_memory, Device& device, std::uint32_t max_rows)
    : decoder_(std::move(decoder)),
      row_memory_(std::move(row_memory)),
      rows_(place_row_arrays(row_memory_.data(), max_rows)),
      device_(&device),
      max_rows_(max_rows) {}

RowResult Prefill::run(const Chunk& chunk, std::span<const LayerKv> layers) {
  KVRM_CHECK_LE(1U, chunk.count);
  const ModelShape& model = decoder_.model().shape();
  KVRM_CHECK_LE(std::uint64_t{chunk.first} + chunk.count, model.max_len);
  const bool with_tokens = model.kind == ModelKind::decoder;
  KVRM_CHECK_EQ(chunk.tokens.size(), with_tokens ? std::size_t{chunk.count} : 0U);
  for (std::uint32_t done = 0; done < chunk.count; done += max_rows_) {
    StepShape shape;
    shape.rows = std::min(max_rows_, chunk.count - done);
    shape.one_history = true;
    shape.first_output_row = shape.rows - 1;
    shape.output_rows = chunk.last && done + shape.rows == chunk.count ? 1 : 0;
    const RowView longest = view_of(chunk, chunk.first + done + shape.rows - 1);
    shape.chunks = static_cast<std::uint32_t>(divide_up(longest.length, model.chunk_tokens()));
    fill_rows(chunk, done, shape.rows);
    ops_.clear();
    decoder_.append_step(ops_, shape, rows_, layers);
    for (const Op& op : ops_.ops()) device_->launch(op);
    device_->wait();  // the rows and the list are used again
  }
  return chunk.last ? row_result(decoder_.output(), 0, 0) : RowResult{};
}

void Prefill::fill_rows(const Chunk& chunk, std::uint32_t first, std::uint32_t count) const {
  for (std::uint32_t row = 0; row < count; ++row) {
    RowInput input;
    if (!chunk.tokens.empty()) {
      input.token = chunk.tokens[first + row];
      KVRM_CHECK_LT(input.token, decoder_.model().shape().vocabulary);
    }
    input.position = chunk.first + first + row;
    const RowView view = view_of(chunk, input.position);
    input.length = view.length;
    input.far = view.far;
    input.history = chunk.history;
    input.write_slot = chunk.write_slot(input.position);
    input.content_key =
        content_key_at(chunk.content_key, chunk.prefix_key, chunk.prefix_tokens, input.position);
    set_row(rows_, row, input);
  }
  clear_rows(rows_, count, static_cast<std::uint32_t>(round_up(count, kRowTile)));
}

}  // namespace kvrm
