// `kvrm` by hand: budgets, commits, rows that pause, move or take turns, and refused options. The
// identity of its outputs on random schedules is in pooled_engines_test.cc.
#include "engines/kvrm/kvrm_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engines/decoder/test_models.h"
#include "harness/base/prng.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

using ::testing::HasSubstr;
using testing_models::cpu;
using testing_models::take;
using testing_models::tiny_model;

class KvrmEngineTest : public ::testing::Test {
 protected:
  EngineSpec spec(Transport transport) const {
    EngineSpec result{.kind = "kvrm", .label = "kvrm", .options = {}, .budget = {}};
    result.options.transport = transport;
    result.budget = {.kv_bytes = 8 * 208 * model_->shape().kv_bytes_per_token(),
                     .max_batch = 8,
                     .max_len = 200,
                     .prefill_tokens = 64};
    return result;
  }
  std::string error_of(const EngineSpec& with) {
    const auto engine = make_kvrm_engine(with, *model_, kernels_, *device_);
    return engine ? std::string("made") : engine.error().message;
  }
  static void start(Engine& engine, SlotIndex slot, std::uint32_t tokens) {
    ASSERT_TRUE(engine.admit({slot, slot, 100 + slot, tokens, {}}));
    engine.prefill({slot, 0, tokens, true});
  }
  static void step(Engine& engine, Epoch number, const std::vector<SlotIndex>& slots) {
    for (const SlotIndex slot : slots) ASSERT_TRUE(engine.extend(slot));
    engine.submit({number, slots});
    engine.collect();
  }

  std::unique_ptr<DecoderModel> model_ = tiny_model(ModelKind::attention_only);
  std::unique_ptr<Device> device_ = cpu();
  KernelSet kernels_ = take(select_kernels("auto"));
};

TEST_F(KvrmEngineTest, TheViewIsPartOfTheBudget) {
  const auto fused = take(make_kvrm_engine(spec(Transport::fused), *model_, kernels_, *device_));
  const auto full = take(make_kvrm_engine(spec(Transport::full), *model_, kernels_, *device_));
  const std::uint64_t budget = spec(Transport::full).budget.kv_bytes;
  const std::uint64_t view = budget / model_->shape().layers;
  EXPECT_EQ(fused->usage().memory.reserved_bytes, budget);
  EXPECT_EQ(full->usage().memory.staging_bytes, view);
  EXPECT_LE(full->usage().memory.reserved_bytes, budget);
  EXPECT_GT(full->usage().memory.reserved_bytes, view);
  // The budget buys whole blocks, of pool and view together.
  EXPECT_GT(full->usage().memory.reserved_bytes, budget - budget / 8);
}

TEST_F(KvrmEngineTest, CommitsFollowWhatChanged) {
  const auto engine = take(KvrmEngine::make(spec(Transport::fused), *model_, kernels_, *device_));
  start(*engine, 2, 20);
  start(*engine, 5, 40);
  step(*engine, 1, {2, 5});
  const std::uint64_t first = engine->usage().counters.descriptor_bytes;
  // Header, two slots, and each slot's groups and chunks: 20 positions in one chunk, 40 in two. An
  // edit of a table is 24 bytes, with up to two chunks in it.
  EXPECT_EQ(first, 72U + 2 * 48 + 2 * (1 + 1) * 24);
  // Both go on by one position, which takes no edit at all.
  step(*engine, 2, {2, 5});
  EXPECT_EQ(engine->usage().counters.descriptor_bytes - first, 72U);
  // Slot 2 pauses without being released: an edit that empties its row and its group; its chunk is
  // in group 0, as an empty row's are.
  step(*engine, 3, {5});
  EXPECT_EQ(engine->usage().counters.descriptor_bytes - first, 2 * 72U + 48 + 24);
  EXPECT_TRUE(std::ranges::equal(engine->image(), engine->expected_image()));
  step(*engine, 4, {2, 5});
  EXPECT_TRUE(std::ranges::equal(engine->image(), engine->expected_image()));
  EXPECT_EQ(engine->usage().counters.full_commits, 0U);
}

// Four slots, since `delta` has no more in this budget.
TEST_F(KvrmEngineTest, ASlotThatPausesGoesOnWhereItStopped) {
  const std::vector<std::vector<SlotIndex>> pausing = {{1, 3}, {1, 3}, {3}, {3}, {1, 3}, {1}, {1}};
  for (const Transport transport : {Transport::fused, Transport::full, Transport::delta}) {
    const auto outputs = [&](const std::vector<std::vector<SlotIndex>>& steps) {
      const auto engine = take(KvrmEngine::make(spec(transport), *model_, kernels_, *device_));
      start(*engine, 1, 20);
      start(*engine, 3, 40);
      std::map<SlotIndex, std::vector<std::uint64_t>> digests;
      Epoch number = 0;
      for (const std::vector<SlotIndex>& slots : steps) {
        for (const SlotIndex slot : slots) EXPECT_TRUE(engine->extend(slot));
        engine->submit({++number, slots});
        for (const RowResult& row : engine->collect().rows) {
          digests[row.slot].push_back(row.output_digest);
        }
      }
      return digests;
    };
    const auto paused = outputs(pausing);
    EXPECT_EQ(paused, outputs(std::vector<std::vector<SlotIndex>>(5, {1, 3})))
        << static_cast<int>(transport);
    EXPECT_NE(paused.at(1)[0], paused.at(1)[1]);
  }
}

// Slots let go and taken again between two steps, in any order: a slot's next history often has the
// row of another's last one.
TEST_F(KvrmEngineTest, WhoeverComesNextGetsItsOwnOutputs) {
  constexpr SlotIndex kSlots = 3;
  RandomStream random(7, "next requests");
  const auto shuffle = [&](std::vector<SlotIndex>& order) {
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  };
  const auto first_digest = [&](SlotIndex slot, std::uint32_t tokens) {
    const auto alone = take(KvrmEngine::make(spec(Transport::fused), *model_, kernels_, *device_));
    start(*alone, slot, tokens);
    EXPECT_TRUE(alone->extend(slot));
    alone->submit({1, std::span(&slot, 1)});
    return alone->collect().rows[0].output_digest;
  };
  const auto busy = take(KvrmEngine::make(spec(Transport::fused), *model_, kernels_, *device_));
  const std::vector<SlotIndex> slots = {0, 1, 2};
  for (int round = 0; round < 40; ++round) {
    std::vector<SlotIndex> order = slots;
    shuffle(order);
    if (round > 0) order.resize(1 + random.below(kSlots));
    for (const SlotIndex slot : order) busy->release(slot);
    shuffle(order);
    std::map<SlotIndex, std::uint64_t> expected;
    for (const SlotIndex slot : order) {
      const auto tokens = 1 + static_cast<std::uint32_t>(random.below(60));
      start(*busy, slot, tokens);
      expected[slot] = first_digest(slot, tokens);
    }
    for (const SlotIndex slot : slots) ASSERT_TRUE(busy->extend(slot));
    busy->submit({static_cast<Epoch>(round) + 1, slots});
    for (const RowResult& row : busy->collect().rows) {
      if (!expected.contains(row.slot)) continue;
      EXPECT_EQ(row.output_digest, expected[row.slot]) << "round " << round << " slot " << row.slot;
    }
  }
}

TEST_F(KvrmEngineTest, StagingEverythingIsOneFullCommit) {
  constexpr std::uint32_t kTokens = 190;
  EngineSpec with = spec(Transport::delta);
  with.options.block_tokens = 8;
  with.options.placement = Placement::lifo;
  with.budget.kv_bytes *= 2;  // for the view
  const auto engine = take(KvrmEngine::make(with, *model_, kernels_, *device_));
  const std::vector<SlotIndex> slots = {0, 1, 2, 3, 4, 5, 6, 7};
  ASSERT_EQ(engine->info().slots, slots.size());
  // Histories that grow side by side leave no two blocks of one of them adjacent.
  Epoch number = 0;
  for (const SlotIndex slot : slots) start(*engine, slot, 1);
  while (number + 1 < kTokens) step(*engine, ++number, slots);
  EXPECT_EQ(engine->usage().counters.full_commits, 0U);
  // All but one are new, so that what has to be staged is not yet everything.
  const auto others = std::span(slots).subspan(1);
  for (const SlotIndex slot : others) engine->release(slot);
  for (const SlotIndex slot : others) {
    ASSERT_TRUE(engine->admit({slot, slot, 200 + slot, kTokens, {}}));
    for (std::uint32_t first = 0; first < kTokens; first += 38) {
      engine->prefill({slot, first, 38, first + 38 == kTokens});
    }
  }
  const EngineCounters before = engine->usage().counters;
  step(*engine, ++number, slots);
  const EngineCounters after = engine->usage().counters;
  EXPECT_EQ(after.full_commits, before.full_commits + 1);
  const std::uint64_t positions = divide_up(kTokens + 1, 8U) * 8 + 1;  // and its own once more
  EXPECT_EQ(after.moved_bytes - before.moved_bytes,
            slots.size() * positions * model_->shape().kv_bytes_per_token());
}

// A fork makes the parent's last block a shared one, so that the room for its next position, taken
// while a step runs, is in a copy of that block. The row must move there with it. Found by
// kvrm_sim.
TEST_F(KvrmEngineTest, ARowWhoseBlockWasCopiedAheadOfItsStepMovesWithIt) {
  for (const Transport transport : {Transport::fused, Transport::full, Transport::delta}) {
    const auto output = [&](bool ahead) {
      const auto engine = take(KvrmEngine::make(spec(transport), *model_, kernels_, *device_));
      start(*engine, 1, 20);
      step(*engine, 1, {1});
      EXPECT_TRUE(engine->extend(1));
      EXPECT_TRUE(engine->admit({.slot = 2,
                                 .request = 2,
                                 .content_key = 102,
                                 .token_count = 21,
                                 .tokens = {},
                                 .prefix_key = 101,
                                 .prefix_tokens = 20,
                                 .fork_from = 1}));
      const std::vector<SlotIndex> parent = {1};
      engine->submit({2, parent});
      if (ahead) {
        EXPECT_TRUE(engine->extend(1));
        engine->prepare({3, parent});
      }
      engine->collect();
      EXPECT_TRUE(ahead || engine->extend(1));
      EXPECT_TRUE(engine->extend(2));
      const std::vector<SlotIndex> both = {1, 2};
      engine->submit({3, both});
      std::vector<std::uint64_t> digests;
      for (const RowResult& row : engine->collect().rows) digests.push_back(row.output_digest);
      EXPECT_EQ(engine->usage().counters.copy_on_writes, 1U);
      return digests;
    };
    EXPECT_EQ(output(true), output(false)) << static_cast<int>(transport);
  }
}

// Each history's chunks see that history's entries. Found by kvrm_sim.
TEST_F(KvrmEngineTest, PrefillsOfFarHistoriesMayTakeTurns) {
  EngineSpec far = spec(Transport::fused);
  far.options.far_history = {
      .enabled = true, .window_tokens = 32, .sink_tokens = 16, .summaries = 3};
  const auto last_outputs = [&](bool in_turns) {
    const auto engine = take(KvrmEngine::make(far, *model_, kernels_, *device_));
    EXPECT_TRUE(engine->admit({1, 1, 101, 140, {}}));
    EXPECT_TRUE(engine->admit({2, 2, 102, 100, {}}));
    engine->prefill({1, 0, 130, false});  // the next entry changes at 143
    if (in_turns) engine->prefill({2, 0, 60, false});
    const std::uint64_t first = engine->prefill({1, 130, 10, true}).rows[0].output_digest;
    if (!in_turns) engine->prefill({2, 0, 60, false});
    return std::pair(first, engine->prefill({2, 60, 40, true}).rows[0].output_digest);
  };
  EXPECT_EQ(last_outputs(true), last_outputs(false));
}

TEST_F(KvrmEngineTest, OptionsThatCannotWorkAreErrors) {
  EngineSpec gap = spec(Transport::full);
  gap.options.max_gap_blocks = 2;
  EXPECT_THAT(error_of(gap), HasSubstr("merge.max_gap_blocks is 2"));
  EngineSpec small = spec(Transport::full);
  small.budget.kv_bytes = 208 * model_->shape().kv_bytes_per_token();
  EXPECT_THAT(error_of(small), HasSubstr("after a staging view of"));
  gap.options.transport = Transport::fused;
  EXPECT_EQ(error_of(gap), "made");
}

}  // namespace
}  // namespace kvrm
