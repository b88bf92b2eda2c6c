#include "engines/null/null_engine.h"

#include <gtest/gtest.h>

namespace kvrm {
namespace {

class ShapeOnly final : public Model {
 public:
  explicit ShapeOnly(ModelKind kind) { shape_.kind = kind; }

 private:
  const ModelShape& do_shape() const override { return shape_; }
  const ModelWeights& do_weights() const override { return weights_; }
  std::uint64_t do_digest() const override { return 0; }

  ModelShape shape_;
  ModelWeights weights_;
};

EngineSpec spec(std::uint32_t max_batch) {
  EngineSpec spec;
  spec.kind = "null";
  spec.label = "null";
  spec.budget = {0, max_batch, 100, 16};
  return spec;
}

TEST(NullEngine, AnswersEverySlotOfThePlanWithOneToken) {
  const auto engine = make_null_engine(spec(4), ShapeOnly(ModelKind::decoder)).value();
  EXPECT_EQ(engine->info().slots, 4U);
  EXPECT_EQ(engine->info().max_history_tokens, 100U);
  EXPECT_FALSE(engine->info().checked);
  ASSERT_TRUE(engine->admit({2, 0, 0, 30, {}}));
  EXPECT_TRUE(engine->prefill({2, 0, 16, false}).rows.empty());
  EXPECT_EQ(engine->prefill({2, 16, 14, true}).rows.size(), 1U);
  ASSERT_TRUE(engine->extend(2));
  const SlotIndex slots[] = {1, 2};
  engine->submit({1, slots});
  const StepResult step = engine->collect();
  ASSERT_EQ(step.rows.size(), 2U);
  EXPECT_EQ(step.rows[1].slot, 2U);
  EXPECT_EQ(step.rows[1].token, 0U);
  engine->release(2);
  engine->release(2);
  EXPECT_TRUE(engine->admit({2, 1, 0, 1, {}}));
  EXPECT_EQ(engine->usage().memory.reserved_bytes, 0U);
}

TEST(NullEngine, AttentionOnlyHasNoTokensAndNoBatchIsAnError) {
  const auto engine = make_null_engine(spec(1), ShapeOnly(ModelKind::attention_only)).value();
  ASSERT_TRUE(engine->admit({0, 0, 0, 1, {}}));
  EXPECT_EQ(engine->prefill({0, 0, 1, true}).rows[0].token, kNoToken);
  EXPECT_FALSE(make_null_engine(spec(0), ShapeOnly(ModelKind::decoder)).has_value());
}

}  // namespace
}  // namespace kvrm
