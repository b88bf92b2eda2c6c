// The real engine's memory after every step, by transport: views show the pool, also where a block
// was freed and used again with other content (DESIGN 19, 13); nothing depends on what memory held
// before (15); padding rows and masked positions read nothing (16); and what is counted as moved is
// what the graph's operations copied (22).
#include "property_tests/models/step_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engines/decoder/test_models.h"
#include "engines/history/pooled_testing.h"
#include "engines/kvrm/kvrm_engine.h"

namespace kvrm {
namespace {

using pooled_testing::Churn;
using pooled_testing::draw_requests;
using pooled_testing::TestRequest;
using testing_models::cpu;
using testing_models::take;
using testing_models::tiny_model;
using watched::StepMemory;
using watched::WatchedDevice;

struct Setup {
  ModelKind kind;
  DType kv_dtype;
  std::uint32_t block_tokens;
};

class StepMemoryTest : public ::testing::TestWithParam<Setup> {
 protected:
  EngineSpec spec(Transport transport, Placement placement) const {
    const std::uint64_t token_bytes = model_->shape().kv_bytes_per_token();
    EngineSpec result{.kind = "kvrm", .label = "kvrm", .options = {}, .budget = {}};
    result.options.block_tokens = GetParam().block_tokens;
    result.options.placement = placement;
    result.options.transport = transport;
    if (placement != Placement::extent) {
      result.options.compaction_bytes_per_step = 3 * GetParam().block_tokens * token_bytes;
    }
    result.budget = {.kv_bytes = 320 * token_bytes,
                     .max_batch = 5,
                     .max_len = model_->shape().max_len,
                     .prefill_tokens = 24};
    const std::uint64_t view = 5 * 256 * token_bytes;
    if (transport == Transport::full) result.budget.kv_bytes += view / model_->shape().layers;
    if (transport == Transport::delta) result.budget.kv_bytes += view;
    return result;
  }
  std::uint32_t vocabulary() const {
    return GetParam().kind == ModelKind::decoder ? model_->shape().vocabulary : 0;
  }
  using Outputs = std::vector<std::vector<std::uint64_t>>;
  Outputs alone(const FarHistoryRule& rule = {}) {
    const auto device = cpu();
    Outputs outputs;
    EngineSpec one = spec(Transport::fused, Placement::extent);
    one.budget.max_batch = 1;
    one.options.far_history = rule;
    const auto engine = take(KvrmEngine::make(one, *model_, kernels_, *device));
    for (const TestRequest& request : requests_) {
      outputs.push_back(Churn(*engine, {request}, vocabulary(), 1).run()[0]);
    }
    return outputs;
  }
  void run(const EngineSpec& with, std::uint64_t seed, const Outputs& expected);

  std::unique_ptr<DecoderModel> model_ = tiny_model(GetParam().kind, GetParam().kv_dtype);
  KernelSet kernels_ = take(select_kernels("auto"));
  std::vector<TestRequest> requests_ = draw_requests(8, 14, model_->shape().max_len);
  watched::StepMemoryCounts counts_;
  std::uint64_t preemptions_ = 0;
  std::uint64_t far_merges_ = 0;
};

void StepMemoryTest::run(const EngineSpec& with, std::uint64_t seed, const Outputs& expected) {
  WatchedDevice device(cpu());
  const auto engine = take(KvrmEngine::make(with, *model_, kernels_, device));
  StepMemory memory(device);
  device.before_replay = [&] { memory.poison_activations(); };
  std::uint64_t moved = 0;
  Churn churn(*engine, requests_, vocabulary(), seed, [&] {
    ASSERT_EQ(memory.compare_views(), "");
    const std::uint64_t now = engine->usage().counters.moved_bytes;
    ASSERT_EQ(now - moved, memory.copied_bytes());
    memory.counts.copied_bytes += memory.copied_bytes();
    moved = now;
    // Radii of a far history lie in blocks that no table has.
    if (!with.options.far_history.enabled) memory.poison_what_is_not_live();
  });
  EXPECT_EQ(churn.run(), expected);
  far_merges_ += engine->usage().counters.far_merges;
  preemptions_ += churn.preemptions();
  counts_.staged_blocks += memory.counts.staged_blocks;
  counts_.reused_blocks += memory.counts.reused_blocks;
  counts_.poisoned_blocks += memory.counts.poisoned_blocks;
  counts_.poisoned_tails += memory.counts.poisoned_tails;
  counts_.copied_bytes += memory.counts.copied_bytes;
}

TEST_P(StepMemoryTest, ViewsShowThePoolAndNothingElseMatters) {
  const Outputs expected = alone();
  for (const Transport transport : {Transport::fused, Transport::full, Transport::delta}) {
    for (const Placement placement :
         {Placement::lifo, Placement::address_ordered, Placement::extent}) {
      const auto seed = 31 + static_cast<std::uint64_t>(placement);
      SCOPED_TRACE("transport " + std::to_string(static_cast<int>(transport)) + ", placement " +
                   std::to_string(static_cast<int>(placement)));
      run(spec(transport, placement), seed, expected);
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(preemptions_, 10U);
  EXPECT_GT(counts_.staged_blocks, 1000U);
  EXPECT_GT(counts_.reused_blocks, 100U);
  EXPECT_GT(counts_.poisoned_blocks, 1000U);
  EXPECT_GT(counts_.poisoned_tails, 1000U);
  EXPECT_GT(counts_.copied_bytes, 100'000U);
}

// Entries are written where they lie, in blocks that views were given before.
TEST_P(StepMemoryTest, ViewsShowFarHistoriesThatChangeInPlace) {
  const std::uint32_t block = GetParam().block_tokens;
  const FarHistoryRule rule{.enabled = true,
                            .block_tokens = block,
                            .window_tokens = block,
                            .sink_tokens = block,
                            .summaries = 2};
  const Outputs expected = alone(rule);
  for (const Transport transport : {Transport::full, Transport::delta}) {
    SCOPED_TRACE("transport " + std::to_string(static_cast<int>(transport)));
    EngineSpec with = spec(transport, Placement::lifo);
    with.options.far_history = rule;
    run(with, 41, expected);
  }
  EXPECT_GT(counts_.staged_blocks, 1000U);
  EXPECT_GT(far_merges_, 0U);
}

INSTANTIATE_TEST_SUITE_P(Models, StepMemoryTest,
                         ::testing::Values(Setup{ModelKind::decoder, DType::f32, 16},
                                           Setup{ModelKind::attention_only, DType::bf16, 8},
                                           Setup{ModelKind::attention_only, DType::f16, 32}),
                         [](const auto& value) {
                           return std::string(value.param.kind == ModelKind::decoder
                                                  ? "decoder_"
                                                  : "attention_only_") +
                                  std::string(dtype_name(value.param.kv_dtype)) + "_block" +
                                  std::to_string(value.param.block_tokens);
                         });

// More groups than a record lists, which only many long histories at once and one block a group
// make: everything is staged, and counted as what it copies.
TEST(StepMemory, AStagingOfEverythingIsCountedAsWhatItCopies) {
  const auto model = tiny_model(ModelKind::attention_only, DType::bf16);
  const KernelSet kernels = take(select_kernels("auto"));
  WatchedDevice device(cpu());
  EngineSpec spec{.kind = "kvrm", .label = "kvrm", .options = {}, .budget = {}};
  spec.options.block_tokens = 8;
  spec.options.transport = Transport::delta;
  spec.options.max_group_bytes = 1;
  spec.budget = {.kv_bytes = 5 * 2 * 256 * model->shape().kv_bytes_per_token(),
                 .max_batch = 5,
                 .max_len = model->shape().max_len,
                 .prefill_tokens = 200};
  const auto engine = take(KvrmEngine::make(spec, *model, kernels, device));
  StepMemory memory(device);
  const std::vector<SlotIndex> slots = {0, 1, 2, 3, 4};
  for (const SlotIndex slot : slots) {
    ASSERT_TRUE(engine->admit({slot, slot, 100 + slot, 190, {}}));
    engine->prefill({slot, 0, 190, true});
  }
  std::uint64_t moved = engine->usage().counters.moved_bytes;
  for (Epoch number = 1; number <= 3; ++number) {
    for (const SlotIndex slot : slots) ASSERT_TRUE(engine->extend(slot));
    engine->submit({number, slots});
    engine->collect();
    EXPECT_EQ(memory.staged_all(), number == 1);
    EXPECT_EQ(memory.compare_views(), "");
    const std::uint64_t now = engine->usage().counters.moved_bytes;
    EXPECT_EQ(now - moved, memory.copied_bytes()) << number;
    moved = now;
  }
}

}  // namespace
}  // namespace kvrm
