// `paged` and `paged_graph` by themselves: buckets, fallbacks, counters, errors. That they give the
// same bits as every other engine is tested in engines/kvrm and property_tests/differential.
#include "engines/paged/paged_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "engines/decoder/test_models.h"
#include "engines/history/kv_pool.h"
#include "engines/paged/bucket_graphs.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_models::cpu;
using testing_models::take;
using testing_models::tiny_model;

EngineSpec spec_of(const char* kind, const Model& model, std::uint32_t batch) {
  EngineSpec spec{.kind = kind, .label = kind, .options = {}, .budget = {}};
  spec.budget = {.kv_bytes = 4 * 208 * model.shape().kv_bytes_per_token(),
                 .max_batch = batch,
                 .max_len = model.shape().max_len,
                 .prefill_tokens = 64};
  return spec;
}

class PagedEngineTest : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> graph_engine(const EngineSpec& spec) {
    return take(make_paged_graph_engine(spec, *model_, kernels_, *device_));
  }
  // Admits requests of `tokens` positions into slots 0, 1, ... and takes one step over them.
  static void step_with(Engine& engine, std::uint32_t rows, std::uint32_t tokens, Epoch step) {
    std::vector<SlotIndex> slots;
    for (SlotIndex slot = 0; slot < rows; ++slot) {
      ASSERT_TRUE(engine.admit({slot, slot, 100 + slot, tokens, {}}));
      engine.prefill({slot, 0, tokens, true});
      ASSERT_TRUE(engine.extend(slot));
      slots.push_back(slot);
    }
    engine.submit({step, slots});
    ASSERT_EQ(engine.collect().rows.size(), rows);
    for (const SlotIndex slot : slots) engine.release(slot);
  }

  std::unique_ptr<DecoderModel> model_ = tiny_model(ModelKind::attention_only);
  std::unique_ptr<Device> device_ = cpu();
  KernelSet kernels_ = take(select_kernels("auto"));
};

TEST_F(PagedEngineTest, DefaultBucketsAreThoseOfProductionEngines) {
  const BucketGrid grid = take(bucket_grid(spec_of("paged_graph", *model_, 37), model_->shape()));
  EXPECT_THAT(grid.rows, ElementsAre(1, 2, 4, 8, 16, 24, 32, 37));
  EXPECT_THAT(grid.chunks, ElementsAre(7));  // 200 positions in chunks of 32
  EngineSpec spec = spec_of("paged_graph", *model_, 8);
  spec.options.length_buckets = {20, 30, 64, 200};
  EXPECT_THAT(take(bucket_grid(spec, model_->shape())).chunks, ElementsAre(1, 2, 7));
}

TEST_F(PagedEngineTest, ReplaysTheSmallestBucketAndCountsItsPadding) {
  const auto engine = graph_engine(spec_of("paged_graph", *model_, 6));
  EXPECT_EQ(engine->usage().counters.captures, 4U);  // 1, 2, 4, 6
  step_with(*engine, 3, 20, 1);
  const EngineUsage three = engine->usage();
  EXPECT_EQ(three.counters.rows, 4U);
  EXPECT_EQ(three.counters.padding_rows, 1U);
  step_with(*engine, 4, 20, 2);
  EXPECT_EQ(engine->usage().launch_hash, three.launch_hash);
  step_with(*engine, 5, 20, 3);
  const EngineUsage usage = engine->usage();
  EXPECT_NE(usage.launch_hash, three.launch_hash);
  EXPECT_EQ(usage.launch_hash_changes, 0U);
  EXPECT_EQ(usage.counters.captures, 4U);
  EXPECT_EQ(usage.counters.replays, 3U);
  EXPECT_EQ(usage.counters.fallbacks, 0U);
  EXPECT_EQ(usage.counters.launches, 0U);
}

TEST_F(PagedEngineTest, AStepBeyondEveryBucketFallsBackAndIsCounted) {
  EngineSpec spec = spec_of("paged_graph", *model_, 6);
  spec.options.batch_buckets = {2};
  spec.options.length_buckets = {64};
  const auto engine = graph_engine(spec);
  step_with(*engine, 2, 63, 1);  // length 64 fits
  EXPECT_EQ(engine->usage().counters.fallbacks, 0U);
  step_with(*engine, 2, 64, 2);  // too long
  EXPECT_EQ(engine->usage().counters.fallbacks, 1U);
  step_with(*engine, 3, 20, 3);  // too many rows
  const EngineCounters counters = engine->usage().counters;
  EXPECT_EQ(counters.fallbacks, 2U);
  EXPECT_EQ(counters.replays, 1U);
  EXPECT_GT(counters.launches, 0U);
  EXPECT_EQ(counters.rows, 2U + 2U + 3U);
  EXPECT_EQ(counters.captures, 1U);
}

TEST_F(PagedEngineTest, CountersFollowFromTheHistories) {
  const auto engine =
      take(make_paged_engine(spec_of("paged", *model_, 4), *model_, kernels_, *device_));
  step_with(*engine, 2, 32, 1);  // each row attends to 33 positions in 3 blocks
  const EngineUsage usage = engine->usage();
  EXPECT_EQ(usage.counters.attended_positions, 2U * 48);
  EXPECT_EQ(usage.counters.masked_positions, 2U * 15);
  EXPECT_EQ(usage.counters.kv_read_bytes, 2U * 48 * model_->shape().kv_bytes_per_token());
  EXPECT_EQ(usage.counters.blocks, 6U);
  // lifo on a fresh pool: the first history has blocks 0 1 4, the second 2 3 5.
  EXPECT_EQ(usage.counters.groups, usage.counters.groups_minimum);
  EXPECT_GE(usage.counters.groups, 2U);
  EXPECT_EQ(usage.counters.captures, 0U);
  EXPECT_EQ(usage.launch_hash, 0U);
  EXPECT_EQ(usage.memory.allocated_bytes, 0U);
  EXPECT_EQ(usage.memory.live_bytes, 0U);
}

TEST_F(PagedEngineTest, MemoryIsReservedAllocatedAndLive) {
  const EngineSpec spec = spec_of("paged", *model_, 4);
  const auto engine = take(make_paged_engine(spec, *model_, kernels_, *device_));
  ASSERT_TRUE(engine->admit({1, 0, 7, 17, {}}));
  const MemoryUsage memory = engine->usage().memory;
  const std::size_t token = model_->shape().kv_bytes_per_token();
  EXPECT_EQ(memory.reserved_bytes, spec.budget.kv_bytes);
  EXPECT_EQ(memory.allocated_bytes, 32 * token);
  EXPECT_EQ(memory.live_bytes, 17 * token);
  EXPECT_EQ(memory.staging_bytes, 0U);
}

TEST_F(PagedEngineTest, TheWatermarkKeepsBlocksFreeUnlessNothingRuns) {
  EngineSpec spec = spec_of("paged", *model_, 4);  // 52 blocks
  spec.options.watermark = 0.8;                    // 42 blocks
  const auto engine = take(make_paged_engine(spec, *model_, kernels_, *device_));
  ASSERT_TRUE(engine->admit({0, 0, 7, 160, {}}));  // 10 blocks, on an empty engine
  EXPECT_FALSE(engine->admit({1, 1, 8, 1, {}}));
  EXPECT_EQ(engine->usage().counters.allocation_failures, 1U);
  engine->release(0);
  EXPECT_TRUE(engine->admit({0, 2, 7, 144, {}}));  // 9 blocks
  EXPECT_TRUE(engine->admit({1, 3, 8, 16, {}}));   // leaves just 42

  // Even one that keeps everything back keeps nobody out who is alone.
  spec.options.watermark = 0.99;
  const auto careful = take(make_paged_engine(spec, *model_, kernels_, *device_));
  EXPECT_TRUE(careful->admit({0, 0, 7, 1, {}}));
  EXPECT_FALSE(careful->admit({1, 1, 8, 1, {}}));
}

// Also where the entry that the position makes due has its place already.
TEST_F(PagedEngineTest, AnExtensionThatFailsTakesNothing) {
  constexpr std::array<SlotIndex, 2> kBoth = {0, 1};
  std::uint32_t failures = 0;
  const auto run = [&](std::uint32_t pool_blocks, std::uint32_t head_start) {
    EngineSpec spec = spec_of("paged", *model_, 2);
    // A block leaves the window at the position that needs a new one.
    spec.options.far_history = {
        .enabled = true, .window_tokens = 17, .sink_tokens = 16, .summaries = 4};
    spec.budget.kv_bytes = pool_blocks * 16 * model_->shape().kv_bytes_per_token();
    const auto engine = take(make_paged_engine(spec, *model_, kernels_, *device_));
    for (const SlotIndex slot : kBoth) {
      const std::uint32_t tokens = 1 + slot * head_start;
      ASSERT_TRUE(engine->admit({slot, slot, 7 + slot, tokens, {}}));
      engine->prefill({slot, 0, tokens, true});
    }
    for (Epoch number = 1; number <= 150; ++number) {
      std::vector<SlotIndex> plan;
      for (const SlotIndex slot : kBoth) {
        const MemoryUsage before = engine->usage().memory;
        if (engine->extend(slot)) {
          plan.push_back(slot);
          continue;
        }
        ++failures;
        EXPECT_EQ(engine->usage().memory.live_bytes, before.live_bytes);
        EXPECT_EQ(engine->usage().memory.allocated_bytes, before.allocated_bytes);
      }
      if (plan.empty()) break;
      engine->submit({number, plan});
      engine->collect();
    }
  };
  for (std::uint32_t pool_blocks = 9; pool_blocks <= 11; ++pool_blocks) {
    for (std::uint32_t head_start = 0; head_start < 16; ++head_start) run(pool_blocks, head_start);
  }
  EXPECT_GT(failures, 20U);
}

TEST_F(PagedEngineTest, WhatDoesNotFitIsOneClearError) {
  const auto message = [&](const EngineSpec& spec) {
    const auto engine = make_paged_graph_engine(spec, *model_, kernels_, *device_);
    return engine ? std::string("made") : engine.error().message;
  };
  EngineSpec small = spec_of("paged_graph", *model_, 4);
  small.budget.kv_bytes = 200 * model_->shape().kv_bytes_per_token();
  EXPECT_THAT(message(small), HasSubstr("one history of max_len 200 needs"));
  EngineSpec block = spec_of("paged_graph", *model_, 4);
  block.options.block_tokens = 24;
  EXPECT_THAT(message(block), HasSubstr("block_tokens is 24, must be 8 or a multiple of 16"));
  EngineSpec order = spec_of("paged_graph", *model_, 4);
  order.options.batch_buckets = {2, 2};
  EXPECT_THAT(message(order), HasSubstr("batch_buckets has 2"));
  EngineSpec beyond = spec_of("paged_graph", *model_, 4);
  beyond.options.length_buckets = {100, 201};
  EXPECT_THAT(message(beyond), HasSubstr("length_buckets has 201; buckets ascend from 1 to at"));
}

TEST(KvPool, TilesAndBlocksDivideOneAnother) {
  auto shape = testing_models::tiny_spec(ModelKind::attention_only).shape;
  shape.tile_tokens = 32;
  EngineSpec spec{.kind = "paged", .label = "p", .options = {}, .budget = {}};
  spec.budget = {.kv_bytes = kGiB, .max_batch = 3, .max_len = 100, .prefill_tokens = 0};
  for (const auto& [block, fits] : {std::pair{8U, true},
                                    {16U, true},
                                    {32U, true},
                                    {64U, true},
                                    {4U, false},
                                    {24U, false},
                                    {48U, false}}) {
    spec.options.block_tokens = block;
    EXPECT_EQ(plan_pool(spec, shape, StagingView::none).has_value(), fits) << block;
  }
  // More blocks than three histories could use are not taken.
  spec.options.block_tokens = 64;
  const PoolPlan plan = *plan_pool(spec, shape, StagingView::one_layer);
  EXPECT_EQ(plan.pool_blocks, 6U);
  EXPECT_EQ(plan.view_bytes(), 6 * plan.layout.block_bytes());
}

TEST(KvPool, TheViewTakesAtMostHalfOfTheBudgetAndTheBatchFollows) {
  const auto shape = testing_models::tiny_spec(ModelKind::attention_only).shape;
  EngineSpec spec{.kind = "kvrm", .label = "k", .options = {}, .budget = {}};
  spec.options.transport = Transport::full;
  spec.budget = {.kv_bytes = kGiB, .max_batch = 5, .max_len = 64, .prefill_tokens = 0};
  const PoolPlan roomy = *plan_pool(spec, shape, StagingView::one_layer);
  EXPECT_EQ(roomy.slots, 5U);
  spec.budget.kv_bytes = 2 * 3 * roomy.view_stride;
  if (spec.budget.kv_bytes / 2 < roomy.max_blocks_per_history * roomy.block_bytes()) {
    spec.budget.kv_bytes = 2 * 4 * roomy.view_stride;
  }
  const PoolPlan tight = *plan_pool(spec, shape, StagingView::one_layer);
  EXPECT_EQ(tight.slots, spec.budget.kv_bytes / 2 / tight.view_stride);
  EXPECT_LT(tight.slots, 5U);
  EXPECT_LE(tight.view_bytes() + tight.pool_bytes(), spec.budget.kv_bytes);
}

}  // namespace
}  // namespace kvrm
