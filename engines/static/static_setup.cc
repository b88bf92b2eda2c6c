#include "engines/static/static_setup.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "harness/base/units.h"

namespace kvrm {
namespace {

struct SlotPlan {
  std::uint32_t slots = 0;
  std::uint32_t max_len = 0;
  std::uint64_t slot_bytes = 0;
};

Result<SlotPlan> plan_slots(const EngineSpec& spec, const ModelShape& model) {
  SlotPlan plan;
  plan.max_len = spec.budget.max_len;
  if (plan.max_len == 0 || plan.max_len > model.max_len) {
    return bad_input(fmt::format("{}: budget.max_len: {} is not between 1 and the model's {}",
                                 spec.label, plan.max_len, model.max_len));
  }
  if (spec.budget.max_batch == 0) {
    return bad_input(fmt::format("{}: budget.max_batch: is 0", spec.label));
  }
  const std::uint32_t block_tokens = spec.options.block_tokens;
  if (const Status checked = check_block_tokens(model, block_tokens); !checked) {
    return bad_input(fmt::format("{}: options.{}", spec.label, checked.error().message));
  }
  plan.slot_bytes = ContiguousKv::history_bytes(model, block_tokens, plan.max_len);
  const std::uint64_t fit = spec.budget.kv_bytes / plan.slot_bytes;
  if (fit == 0) {
    return bad_input(
        fmt::format("{}: budget.kv_bytes: one slot of {} positions takes {}, the "
                    "budget is {}",
                    spec.label, plan.max_len, format_bytes(plan.slot_bytes),
                    format_bytes(spec.budget.kv_bytes)));
  }
  plan.slots = static_cast<std::uint32_t>(std::min<std::uint64_t>(fit, spec.budget.max_batch));
  return plan;
}

// The buckets asked for, and max_len where they stop short of it.
Result<std::vector<std::uint32_t>> graph_lengths(const EngineSpec& spec, std::uint32_t max_len) {
  std::vector<std::uint32_t> lengths = spec.options.length_buckets;
  std::uint32_t before = 0;
  for (const std::uint32_t length : lengths) {
    if (length <= before || length > max_len) {
      return bad_input(
          fmt::format("{}: options.length_buckets: {} is not ascending within "
                      "budget.max_len, {}",
                      spec.label, length, max_len));
    }
    before = length;
  }
  if (before < max_len) lengths.push_back(max_len);
  return lengths;
}

LengthGraph record_graph(const StaticSetup& setup, StaticAttention attention,
                         std::uint32_t max_length, Device& device) {
  StepShape shape;
  shape.rows = shape.output_rows = setup.slots;
  shape.chunks = static_cast<std::uint32_t>(
      divide_up(max_length, setup.decoder.model().shape().chunk_tokens()));
  shape.compute_length = attention == StaticAttention::full ? max_length : 0;
  OpList ops;
  setup.decoder.append_step(ops, shape, setup.rows, setup.kv.layers());
  return {max_length, shape.compute_length, CheckedGraph(device, std::move(ops))};
}

// Memory for the slots and for everything that runs over them.
Result<StaticSetup> allocate(const EngineSpec& spec, const SlotPlan& plan,
                             const DecoderModel& model, const KernelSet& kernels, Device& device) {
  auto kv = ContiguousKv::make(model.shape(), spec.options.block_tokens, plan.max_len, plan.slots,
                               device);
  if (!kv) return tl::unexpected<Error>(kv.error());
  auto decoder = Decoder::make(model, kernels, device, plan.slots, plan.slots);
  if (!decoder) return tl::unexpected<Error>(decoder.error());
  auto prefill =
      Prefill::make(model, kernels, device, Prefill::rows_for_budget(spec.budget.prefill_tokens));
  if (!prefill) return tl::unexpected<Error>(prefill.error());
  auto row_memory = device.allocate(MemoryPurpose::metadata, row_arrays_bytes(plan.slots));
  if (!row_memory) return tl::unexpected<Error>(row_memory.error());
  const RowArrays rows = place_row_arrays(row_memory->data(), plan.slots);
  clear_rows(rows, 0, static_cast<std::uint32_t>(round_up(plan.slots, kRowTile)));
  return StaticSetup{plan.slots,
                     plan.max_len,
                     plan.slot_bytes,
                     *std::move(kv),
                     *std::move(decoder),
                     *std::move(prefill),
                     *std::move(row_memory),
                     rows,
                     {}};
}

}  // namespace

Result<StaticSetup> make_static_setup(const EngineSpec& spec, const DecoderModel& model,
                                      const KernelSet& kernels, Device& device) {
  const Result<SlotPlan> plan = plan_slots(spec, model.shape());
  if (!plan) return tl::unexpected<Error>(plan.error());
  const auto lengths = graph_lengths(spec, plan->max_len);
  if (!lengths) return tl::unexpected<Error>(lengths.error());
  Result<StaticSetup> setup = allocate(spec, *plan, model, kernels, device);
  if (!setup) return setup;
  for (const std::uint32_t length : *lengths) {
    setup->graphs.push_back(record_graph(*setup, spec.options.attention, length, device));
  }
  return setup;
}

}  // namespace kvrm
