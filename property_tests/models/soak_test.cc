// A hundred thousand steps of random traffic in a pool that is nearly full, through the engine
// `kvrm` with every transport: once warm, memory in use does not grow, and at the end nothing is
// left (DESIGN 19, invariants 1, 2, 7 and 9).
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "engines/decoder/test_models.h"
#include "engines/kvrm/control_plane_device.h"
#include "engines/kvrm/kvrm_engine.h"
#include "harness/base/prng.h"
#include "property_tests/models/process_memory.h"
#include "property_tests/models/soak_traffic.h"

namespace kvrm {
namespace {

using soak::EngineTraffic;
using soak::kSanitized;
using soak::process_memory;
using soak::ProcessMemory;
using soak::TrafficCounts;
using soak::TrafficShape;
using testing_models::cpu;
using testing_models::take;

constexpr std::uint64_t kSteps = kSanitized ? 4'000 : 100'000;
constexpr std::uint64_t kWarmUp = kSteps / 10;
constexpr std::uint32_t kSlots = 24;
// Views count their pages once more: those of `remap` until every place was used once.
constexpr std::size_t kResidentSlack = 256 << 10;

struct SoakCase {
  const char* name = "";
  EngineOptions options;
  TrafficShape traffic;
  std::uint32_t max_length = 320;
  std::uint32_t pool_blocks = 0;
  std::uint32_t layers = 1;
  std::uint32_t head_dim = 8;
  bool preempts = true;
  bool data_plane = false;
};
void PrintTo(const SoakCase& with, std::ostream* out) { *out << with.name; }

EngineOptions options_of(Transport transport, Placement placement, std::uint64_t compaction) {
  EngineOptions options;
  options.block_tokens = 16;
  options.transport = transport;
  options.placement = placement;
  options.compaction_bytes_per_step = compaction;
  return options;
}

constexpr TrafficShape kMixed{
    .prompt_min = 1, .prompt_max = 200, .output_max = 120, .occupancy = 0.91};

// On the device that moves no KV, so that a hundred thousand steps take a second.
SoakCase fused() {
  return {.name = "fused",
          .options = options_of(Transport::fused, Placement::extent, 4 << 10),
          .traffic = kMixed,
          .pool_blocks = 170};
}

SoakCase fused_with_data_plane() {
  SoakCase with = fused();
  with.name = "fused_with_data_plane";
  with.data_plane = true;
  return with;
}

// Of three layers, so that the view of one leaves most of the budget to the pool.
SoakCase full() {
  return {.name = "full",
          .options = options_of(Transport::full, Placement::lifo, 0),
          .traffic = kMixed,
          .pool_blocks = 170,
          .layers = 3};
}

// The view takes as much as a pool in which every slot has its longest history, so that only
// histories of nearly all their blocks fill the pool, which is never exhausted then.
SoakCase delta() {
  SoakCase with{
      .name = "delta",
      .options = options_of(Transport::delta, Placement::address_ordered, 8 << 10),
      .traffic = {.prompt_min = 86, .prompt_max = 114, .output_max = 48, .fork_one_in = 32},
      .max_length = 128,
      .pool_blocks = kSlots * 4,
      .preempts = false};
  with.options.block_tokens = 32;
  with.traffic.occupancy = 1;
  return with;
}

// Blocks of one page.
SoakCase remap() {
  return {.name = "remap",
          .options = options_of(Transport::remap, Placement::lifo, 16 << 10),
          .traffic = kMixed,
          .pool_blocks = 170,
          .head_dim = 64};
}

SoakCase far_history() {
  SoakCase with = fused();
  with.name = "far_history";
  with.pool_blocks = 120;
  with.options.far_history = {
      .enabled = true, .window_tokens = 48, .sink_tokens = 16, .summaries = 6};
  return with;
}

ModelSpec model_spec(const SoakCase& with) {
  ModelSpec spec;
  spec.shape = {.kind = ModelKind::attention_only,
                .layers = with.layers,
                .query_heads = 1,
                .kv_heads = 1,
                .head_dim = with.head_dim,
                .max_len = with.max_length,
                .kv_dtype = DType::f16,
                .tile_tokens = 16,
                .split_tiles = 4};
  return spec;
}

EngineSpec engine_spec(const SoakCase& with, const ModelShape& shape) {
  EngineSpec spec{.kind = "kvrm", .label = with.name, .options = with.options, .budget = {}};
  const std::uint64_t token = shape.kv_bytes_per_token();
  const std::uint64_t view = std::uint64_t{kSlots} * with.max_length * token;
  spec.budget = {.kv_bytes = with.pool_blocks * with.options.block_tokens * token,
                 .max_batch = kSlots,
                 .max_len = with.max_length,
                 .prefill_tokens = 64};
  if (with.options.transport == Transport::full) spec.budget.kv_bytes += view / shape.layers;
  if (with.options.transport == Transport::delta) spec.budget.kv_bytes += view;
  return spec;
}

// Every block can be had again: none is lost, none waits for a step. Histories that each are as
// long as can be take them all.
void expect_whole_pool_free(Engine& engine, const SoakCase& with) {
  EXPECT_EQ(engine.usage().memory.allocated_bytes, 0U);
  EXPECT_EQ(engine.usage().memory.live_bytes, 0U);
  if (engine.info().far_history.enabled) return;  // what a history takes is not its length
  const std::uint32_t longest = with.max_length / with.options.block_tokens;
  std::uint32_t left = with.pool_blocks;
  for (SlotIndex slot = 0; left > 0; ++slot) {
    ASSERT_LT(slot, engine.info().slots);
    const std::uint32_t blocks = std::min(left, longest);
    ASSERT_TRUE(engine.admit({.slot = slot,
                              .request = slot,
                              .content_key = slot,
                              .token_count = blocks * with.options.block_tokens,
                              .tokens = {}}))
        << left << " of " << with.pool_blocks << " blocks left";
    left -= blocks;
  }
  for (SlotIndex slot = 0; slot < engine.info().slots; ++slot) engine.release(slot);
}

void expect_traffic_met_everything(const TrafficCounts& traffic, const Engine& engine,
                                   const SoakCase& with) {
  constexpr std::uint64_t kMany = kSteps / 1000;
  const EngineCounters counters = engine.usage().counters;
  EXPECT_GE(traffic.occupancy_mean(), 0.94);
  EXPECT_LE(traffic.occupancy_mean(), 0.965);
  EXPECT_GT(traffic.positions, 10 * kSteps);
  EXPECT_GT(traffic.joins, 50 * kMany);
  EXPECT_GT(traffic.ends, 50 * kMany);
  EXPECT_GT(traffic.cancellations, kMany);
  EXPECT_GT(traffic.pauses, 50 * kMany);
  EXPECT_GT(traffic.prepared, 50 * kMany);
  if (with.preempts) {
    EXPECT_GT(traffic.preemptions, kMany);
    EXPECT_GT(counters.allocation_failures, kMany);
  }
  if (engine.info().can_fork) {
    EXPECT_GT(traffic.forks, 5 * kMany);
    EXPECT_GT(counters.copy_on_writes, kMany);
  } else {
    EXPECT_GT(counters.far_summaries, 50 * kMany);
    EXPECT_GT(counters.far_merges, 50 * kMany);
  }
  if (with.options.compaction_bytes_per_step > 0) {
    EXPECT_GT(counters.compacted_blocks, 5 * kMany);
  }
  if (with.options.transport == Transport::remap) {
    EXPECT_GT(counters.map_calls, 50 * kMany);
  }
}

class Soak : public ::testing::TestWithParam<SoakCase> {};

TEST_P(Soak, MemoryDoesNotGrowAndNothingIsLeft) {
  const SoakCase& with = GetParam();
  const auto model = take(DecoderModel::load(model_spec(with)));
  std::unique_ptr<Device> device = cpu(1);
  if (!with.data_plane) {
    device = std::make_unique<ControlPlaneDevice>(std::move(device), MappingWork::real);
  }
  const KernelSet kernels = take(select_kernels("auto"));
  const EngineSpec spec = engine_spec(with, model->shape());
  const auto device_before = device->memory().bytes;
  const ProcessMemory before = process_memory();
  {
    const auto engine = take(make_kvrm_engine(spec, *model, kernels, *device));
    ASSERT_EQ(engine->info().slots, kSlots);
    EngineTraffic traffic(*engine, with.traffic, 11);
    traffic.run(kWarmUp);
    traffic.take_counts();
    const auto device_warm = device->memory().bytes;
    const ProcessMemory warm = process_memory();
    traffic.run(kSteps - kWarmUp);
    const ProcessMemory end = process_memory();
    EXPECT_EQ(end.heap_bytes, warm.heap_bytes);
    EXPECT_LE(end.resident_bytes, warm.resident_bytes + kResidentSlack);
    EXPECT_EQ(device->memory().bytes, device_warm);
    expect_traffic_met_everything(traffic.take_counts(), *engine, with);
    traffic.close_all();
    expect_whole_pool_free(*engine, with);
  }
  EXPECT_EQ(device->memory().bytes, device_before);
  EXPECT_EQ(process_memory().heap_bytes, before.heap_bytes);
}

INSTANTIATE_TEST_SUITE_P(Transports, Soak,
                         ::testing::Values(fused(), fused_with_data_plane(), full(), delta(),
                                           remap(), far_history()),
                         [](const auto& value) { return std::string(value.param.name); });

}  // namespace
}  // namespace kvrm
