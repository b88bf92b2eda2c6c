// `static`: golden tokens, one result whatever the graph computes in vain, and counters that
// explain it.
#include "engines/static/static_engine.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engines/decoder/poison_device.h"
#include "engines/decoder/test_drive.h"
#include "engines/decoder/test_models.h"
#include "engines/decoder/tokenizer.h"

namespace kvrm {
namespace {

using namespace testing_models;

KernelSet kernels() { return take(select_kernels("auto")); }

EngineSpec static_spec(const ModelShape& shape, std::uint32_t slots, StaticAttention attention,
                       std::vector<std::uint32_t> buckets = {}) {
  EngineSpec spec;
  spec.kind = "static";
  spec.label = "static-test";
  spec.options.attention = attention;
  spec.options.length_buckets = std::move(buckets);
  spec.budget = {std::uint64_t{1} << 30, slots, shape.max_len, 64};
  return spec;
}

std::vector<TestOutput> run(const DecoderModel& model, Device& device, const EngineSpec& spec,
                            std::uint32_t prefill_chunk = 64) {
  const ModelShape& shape = model.shape();
  const std::uint32_t vocabulary = shape.kind == ModelKind::decoder ? shape.vocabulary : 0;
  const auto requests = mixed_requests(10, shape.max_len, vocabulary, 3);
  const auto engine = take(make_static_engine(spec, model, kernels(), device));
  return drive_all(*engine, requests, prefill_chunk);
}

struct Case {
  ModelKind kind;
  DType kv_dtype;
};

class StaticEngine : public testing::TestWithParam<Case> {};

TEST_P(StaticEngine, OneResultWhateverIsComputedInVainAndWhateverMemoryHeld) {
  const auto model = tiny_model(GetParam().kind, GetParam().kv_dtype);
  const auto device = cpu();
  const ModelShape& shape = model->shape();
  const auto alone = run(*model, *device, static_spec(shape, 1, StaticAttention::early_exit));
  for (const TestOutput& output : alone) EXPECT_FALSE(output.tokens.empty());

  const std::vector<std::uint32_t> buckets = {24, 70, 111};
  const auto poisoned = std::make_unique<PoisonDevice>(cpu(1));
  for (const StaticAttention attention : {StaticAttention::early_exit, StaticAttention::full}) {
    EXPECT_EQ(run(*model, *poisoned, static_spec(shape, 5, attention)), alone);
    EXPECT_EQ(run(*model, *device, static_spec(shape, 5, attention, buckets), 7), alone);
  }
  for (const std::uint32_t block_tokens : {8U, 64U}) {
    EngineSpec other_blocks = static_spec(shape, 4, StaticAttention::full);
    other_blocks.options.block_tokens = block_tokens;
    EXPECT_EQ(run(*model, *poisoned, other_blocks), alone) << block_tokens;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, StaticEngine,
                         testing::Values(Case{ModelKind::decoder, DType::f32},
                                         Case{ModelKind::decoder, DType::f16},
                                         Case{ModelKind::decoder, DType::bf16},
                                         Case{ModelKind::attention_only, DType::bf16}));

TEST(StaticEngineMemory, SlotsAreWhatTheBudgetHolds) {
  const auto model = tiny_model(ModelKind::decoder, DType::f16);
  const auto device = cpu(1);
  EngineSpec spec = static_spec(model->shape(), 8, StaticAttention::early_exit);
  const std::uint64_t slot_bytes = 208 * model->shape().kv_bytes_per_token();  // 200, whole blocks
  spec.budget.kv_bytes = 3 * slot_bytes + slot_bytes / 2;
  const auto engine = take(make_static_engine(spec, *model, kernels(), *device));
  EXPECT_EQ(engine->info().slots, 3U);
  EXPECT_EQ(engine->info().max_history_tokens, 200U);
  EXPECT_EQ(engine->usage().memory.reserved_bytes, 3 * slot_bytes);
  EXPECT_EQ(device->memory().bytes[static_cast<std::size_t>(MemoryPurpose::kv_pool)],
            3 * slot_bytes);
  EXPECT_EQ(engine->usage().memory.allocated_bytes, 0U);

  const std::vector<TokenId> prompt = {5, 6, 7};
  ASSERT_TRUE(engine->admit({1, 0, 0, 3, prompt}));
  EXPECT_EQ(engine->usage().memory.allocated_bytes, slot_bytes);
  EXPECT_EQ(engine->usage().memory.live_bytes, 0U);
  engine->prefill({1, 0, 2, false});
  EXPECT_EQ(engine->usage().memory.live_bytes, 2 * model->shape().kv_bytes_per_token());
  engine->prefill({1, 2, 1, true});
  ASSERT_TRUE(engine->extend(1));
  const SlotIndex slots[] = {1};
  engine->submit({1, slots});
  engine->collect();
  EXPECT_EQ(engine->usage().memory.live_bytes, 4 * model->shape().kv_bytes_per_token());
  engine->release(1);
  engine->release(1);
  EXPECT_EQ(engine->usage().memory.allocated_bytes, 0U);
  EXPECT_EQ(engine->usage().memory.live_bytes, 0U);
}

TEST(StaticEngineErrors, NameTheBudgetAndTheNumbers) {
  const auto model = tiny_model(ModelKind::decoder);
  const auto device = cpu(1);
  const EngineSpec good = static_spec(model->shape(), 2, StaticAttention::full);
  const auto message = [&](const EngineSpec& spec) {
    const auto engine = make_static_engine(spec, *model, kernels(), *device);
    return engine ? std::string("made") : engine.error().message;
  };
  EXPECT_EQ(message(good), "made");
  EngineSpec spec = good;
  spec.budget.kv_bytes = 1000;
  EXPECT_EQ(message(spec),
            "static-test: budget.kv_bytes: one slot of 200 positions takes 78.0 KiB, the budget is "
            "1000 B");
  spec = good;
  spec.budget.max_len = 201;
  EXPECT_EQ(message(spec), "static-test: budget.max_len: 201 is not between 1 and the model's 200");
  spec = good;
  spec.options.length_buckets = {40, 30};
  EXPECT_EQ(message(spec),
            "static-test: options.length_buckets: 30 is not ascending within budget.max_len, 200");
  spec = good;
  spec.options.block_tokens = 24;
  EXPECT_EQ(message(spec),
            "static-test: options.block_tokens: 24 is neither 8 nor a multiple of 16");
  spec = good;
  spec.budget.max_batch = 0;
  EXPECT_EQ(message(spec), "static-test: budget.max_batch: is 0");

  const auto small = take(make_cpu_device({1, "test", 10'000}));
  const auto engine = make_static_engine(good, *model, kernels(), *small);
  ASSERT_FALSE(engine.has_value());
  EXPECT_EQ(engine.error().code, ExitCode::incomplete);
}

// One request of 20 positions that grows by one, in the second of three slots.
EngineUsage usage_after_one_step(StaticAttention attention, std::vector<std::uint32_t> buckets) {
  const auto model = tiny_model(ModelKind::attention_only);
  const auto device = cpu(1);
  const auto engine = take(make_static_engine(
      static_spec(model->shape(), 3, attention, std::move(buckets)), *model, kernels(), *device));
  EXPECT_TRUE(engine->admit({1, 0, 77, 20, {}}));
  engine->prefill({1, 0, 20, true});
  EXPECT_TRUE(engine->extend(1));
  const SlotIndex slots[] = {1};
  engine->submit({1, slots});
  engine->collect();
  return engine->usage();
}

TEST(StaticEngineCounters, ShowWhatIsComputedInVain) {
  const std::uint64_t bytes_per_token =
      tiny_spec(ModelKind::attention_only).shape.kv_bytes_per_token();

  const EngineUsage early = usage_after_one_step(StaticAttention::early_exit, {});
  EXPECT_EQ(early.counters.captures, 1U);
  EXPECT_EQ(early.counters.replays, 1U);
  EXPECT_EQ(early.counters.rows, 3U);
  EXPECT_EQ(early.counters.padding_rows, 2U);
  EXPECT_EQ(early.counters.attended_positions, 32U);
  EXPECT_EQ(early.counters.masked_positions, 11U);
  EXPECT_EQ(early.counters.kv_read_bytes, 32 * bytes_per_token);
  EXPECT_EQ(early.counters.groups, 1U);
  EXPECT_EQ(early.counters.blocks, 2U);

  const EngineUsage full = usage_after_one_step(StaticAttention::full, {});
  EXPECT_EQ(full.counters.attended_positions, 3U * 208U);
  EXPECT_EQ(full.counters.masked_positions, 3U * 208U - 21U);

  const EngineUsage bucket = usage_after_one_step(StaticAttention::full, {20, 48});
  EXPECT_EQ(bucket.counters.captures, 3U);
  EXPECT_EQ(bucket.counters.attended_positions, 3U * 48U) << "21 positions need the second bucket";
}

TEST(StaticEngineGraph, LaunchHashHoldsOverARun) {
  const auto model = tiny_model(ModelKind::decoder);
  const auto device = cpu();
  const auto engine = take(make_static_engine(
      static_spec(model->shape(), 4, StaticAttention::early_exit), *model, kernels(), *device));
  const auto requests = mixed_requests(6, 60, model->shape().vocabulary, 1);
  drive_all(*engine, mixed_requests(1, 10, model->shape().vocabulary, 2));
  const EngineUsage before = engine->usage();
  EXPECT_NE(before.launch_hash, 0U);
  drive_all(*engine, requests);
  const EngineUsage after = engine->usage();
  EXPECT_EQ(after.launch_hash, before.launch_hash);
  EXPECT_EQ(after.launch_hash_changes, 0U);
  EXPECT_EQ(after.counters.captures, before.counters.captures);
  EXPECT_GT(after.counters.replays, before.counters.replays);
}

class StaticGolden : public testing::TestWithParam<DType> {};

TEST_P(StaticGolden, EveryPromptGivesTheTokensOfTheOriginal) {
  const auto data = data_directory(KVRM_SOURCE_DIR);
  std::ifstream in(data / "golden/stories260K.jsonl");
  if (!in) GTEST_SKIP() << "NO TEST DATA at " << data << ": nothing of the real model is checked";
  std::vector<TestRequest> requests;
  std::vector<std::vector<TokenId>> expected;
  for (std::string line; std::getline(in, line);) {
    const auto row = nlohmann::json::parse(line);
    TestRequest request;
    request.prompt = row["prompt_tokens"].get<std::vector<TokenId>>();
    request.prompt_tokens = static_cast<std::uint32_t>(request.prompt.size());
    // Forward passes, the prompt's included: the last prompt token gives the first output.
    request.output_tokens = row["steps"].get<std::uint32_t>() - request.prompt_tokens + 1;
    request.stop_token = kBeginOfSequence;
    requests.push_back(request);
    expected.push_back(row["output_tokens"]);
  }
  ASSERT_EQ(requests.size(), 20U);

  ModelSpec model_spec;
  model_spec.checkpoint = data / "model/stories260K.bin";
  model_spec.shape.kv_dtype = GetParam();
  const auto model = take(DecoderModel::load(model_spec));
  const auto device = cpu();
  const auto engine = take(make_static_engine(
      static_spec(model->shape(), 20, StaticAttention::early_exit), *model, kernels(), *device));
  const auto outputs = drive_all(*engine, requests, 32);
  for (std::size_t i = 0; i < outputs.size(); ++i) EXPECT_EQ(outputs[i].tokens, expected[i]) << i;
}

INSTANTIATE_TEST_SUITE_P(KvTypes, StaticGolden, testing::Values(DType::f32, DType::f16),
                         [](const auto& param) { return std::string(dtype_name(param.param)); });

}  // namespace
}  // namespace kvrm
