// The oracle as an engine that follows a far-history rule: by hand for attention_only, through
// prefill and decode for a Llama, and what its shadow says. Also content with a shared prefix.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "harness/contract/content.h"
#include "property_tests/oracle/oracle_engine.h"
#include "property_tests/oracle/test_models.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kContentKey = 12345;
constexpr std::uint64_t kPrefixKey = 777;

ModelShape content_shape() {
  ModelShape shape;
  shape.kind = ModelKind::attention_only;
  shape.layers = 2;
  shape.query_heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 16;
  shape.max_len = 128;
  shape.kv_dtype = DType::f16;
  return shape;
}

constexpr FarHistoryRule kRule = {
    .enabled = true, .block_tokens = 4, .window_tokens = 6, .sink_tokens = 4, .summaries = 2};

struct Content {
  std::uint32_t prefix_tokens = 0;
  // Dimension d of (layer 1, kv head 1), or of query head 3.
  double at(ContentPart part, std::uint32_t position, std::uint32_t d) const {
    return content_value(position < prefix_tokens ? kPrefixKey : kContentKey, part, 1, position,
                         part == ContentPart::query ? 3 : 1, d);
  }
};

// Attention output (layer 1, query head 3, dim 5) of the last of `positions`, where positions
// [first, end) of each pair stand together: the mean as one key with its count as weight.
using Groups = std::vector<std::pair<std::uint32_t, std::uint32_t>>;
double element_by_hand(const Content& content, std::uint32_t positions, const Groups& groups) {
  double sum = 0;
  double total = 0;
  for (const auto& [first, end] : groups) {
    const double count = end - first;
    double logit = 0;
    double value = 0;
    for (std::uint32_t i = first; i < end; ++i) {
      for (std::uint32_t d = 0; d < 16; ++d) {
        logit += content.at(ContentPart::query, positions - 1, d) *
                 content.at(ContentPart::key, i, d) / count / 4;
      }
      value += content.at(ContentPart::value, i, 5) / count;
    }
    sum += count * std::exp(logit);
    total += count * std::exp(logit) * value;
  }
  return total / sum;
}

Groups singles(std::uint32_t first, std::uint32_t end) {
  Groups groups;
  for (std::uint32_t i = first; i < end; ++i) groups.emplace_back(i, i + 1);
  return groups;
}

Groups joined(Groups a, const Groups& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

constexpr std::size_t kElement = (1 * 4 + 3) * 16 + 5;

double prefilled_element(Engine& oracle, const Admission& admission) {
  EXPECT_TRUE(oracle.admit(admission));
  return oracle.prefill({.first = 0, .count = admission.token_count, .last = true})
      .rows[0]
      .output[kElement];
}

double stepped_element(Engine& oracle, Epoch step) {
  const std::vector<SlotIndex> slot = {0};
  EXPECT_TRUE(oracle.extend(0));
  oracle.submit({.step = step, .slots = slot});
  return oracle.collect().rows[0].output[kElement];
}

// f16 means of f16 values; nothing else is rounded but the output.
constexpr double kMeanRounding = 1e-3;

TEST(OracleWithRule, AttentionOnlyByHandThroughPrefillAndDecode) {
  const ShapeOnlyModel model(content_shape());
  const auto oracle = make_oracle_engine(model, kRule);
  EXPECT_FALSE(oracle->info().exact);
  EXPECT_TRUE(oracle->info().far_history.enabled);
  const Content content;
  // Thirteen positions: block [4, 8) ends beyond 13 - 6.
  EXPECT_NEAR(prefilled_element(*oracle, {.content_key = kContentKey, .token_count = 13}),
              element_by_hand(content, 13, singles(0, 13)), 1e-7);
  EXPECT_EQ(oracle->usage().shadow.outputs, 0U);
  const std::size_t token_bytes = content_shape().kv_bytes_per_token();
  EXPECT_EQ(oracle->usage().memory.live_bytes, 13 * token_bytes);
  for (std::uint32_t positions = 14; positions <= 25; ++positions) {
    Groups groups = singles(0, 4);
    if (positions < 18) {
      groups = joined(joined(groups, {{4, 8}}), singles(8, positions));
    } else if (positions < 22) {
      groups = joined(joined(groups, {{4, 8}, {8, 12}}), singles(12, positions));
    } else {
      groups = joined(joined(groups, {{4, 12}, {12, 16}}), singles(16, positions));
    }
    EXPECT_NEAR(stepped_element(*oracle, positions), element_by_hand(content, positions, groups),
                kMeanRounding);
    EXPECT_EQ(oracle->usage().memory.live_bytes, groups.size() * token_bytes) << positions;
  }
  // Twelve rows of two layers and four query heads.
  const ShadowError shadow = oracle->usage().shadow;
  EXPECT_EQ(shadow.outputs, 12U * 8U);
  EXPECT_GT(shadow.error_max, 0.01);
  EXPECT_GE(shadow.bound_sum, shadow.error_sum);
  EXPECT_LE(shadow.error_over_bound_max, 1);
  EXPECT_GT(shadow.error_over_bound_max, 0);
}

TEST(OracleWithRule, TheSummariesAreSeenInTheOutput) {
  const ShapeOnlyModel model(content_shape());
  const Groups blocks = joined(joined(singles(0, 4), {{4, 12}, {12, 16}}), singles(16, 25));
  const double with = element_by_hand({}, 25, blocks);
  const double without = element_by_hand({}, 25, singles(0, 25));
  EXPECT_GT(std::abs(with - without), 10 * kMeanRounding);
}

TEST(OracleEngine, ContentBelowThePrefixIsThePrefixes) {
  const ShapeOnlyModel model(content_shape());
  const Content content{.prefix_tokens = 9};
  const Admission admission{
      .content_key = kContentKey, .token_count = 20, .prefix_key = kPrefixKey, .prefix_tokens = 9};
  const auto exact = make_oracle_engine(model);
  EXPECT_NEAR(prefilled_element(*exact, admission), element_by_hand(content, 20, singles(0, 20)),
              1e-7);
  EXPECT_NEAR(stepped_element(*exact, 1), element_by_hand(content, 21, singles(0, 21)), 1e-7);
  const auto far = make_oracle_engine(model, kRule);
  const Groups blocks = joined(joined(singles(0, 4), {{4, 8}, {8, 12}}), singles(12, 20));
  EXPECT_NEAR(prefilled_element(*far, admission), element_by_hand(content, 20, blocks),
              kMeanRounding);
  // Not by chance the same as without the prefix.
  EXPECT_GT(std::abs(element_by_hand({}, 20, singles(0, 20)) -
                     element_by_hand(content, 20, singles(0, 20))),
            1e-3);
}

// Logits after each of the tokens from `first_row` on; the tokens before are prefilled at once.
std::vector<std::vector<float>> llama_rows(Engine& oracle, std::uint32_t first_row,
                                           std::uint32_t rows) {
  std::vector<std::vector<float>> outputs;
  for (std::uint32_t count = first_row; count < first_row + rows; ++count) {
    std::vector<TokenId> tokens;
    for (std::uint32_t i = 0; i < count; ++i) tokens.push_back(content_token(5, i, 50));
    oracle.release(0);
    EXPECT_TRUE(oracle.admit({.token_count = count, .tokens = tokens}));
    const StepResult result = oracle.prefill({.first = 0, .count = count, .last = true});
    outputs.emplace_back(result.rows[0].output.begin(), result.rows[0].output.end());
  }
  return outputs;
}

class LlamaWithRule : public testing::TestWithParam<DType> {
 protected:
  RandomLlama model_{small_llama_shape(GetParam()), 3};
};
INSTANTIATE_TEST_SUITE_P(KvTypes, LlamaWithRule,
                         testing::Values(DType::f32, DType::f16, DType::bf16),
                         [](const auto& type) { return std::string(dtype_name(type.param)); });

TEST_P(LlamaWithRule, ARuleThatNeverBitesIsExact) {
  FarHistoryRule late = kRule;
  late.window_tokens = 100;
  const auto exact = make_oracle_engine(model_);
  const auto far = make_oracle_engine(model_, late);
  EXPECT_EQ(llama_rows(*exact, 30, 3), llama_rows(*far, 30, 3));
  EXPECT_EQ(far->usage().shadow.outputs, 0U);
}

TEST_P(LlamaWithRule, SinglePositionsAreExactToTheBit) {
  const FarHistoryRule single = {
      .enabled = true, .block_tokens = 1, .window_tokens = 3, .sink_tokens = 1, .summaries = 64};
  const auto exact = make_oracle_engine(model_);
  const auto far = make_oracle_engine(model_, single);
  EXPECT_EQ(llama_rows(*exact, 30, 3), llama_rows(*far, 30, 3));
  const ShadowError shadow = far->usage().shadow;
  EXPECT_EQ(shadow.outputs, 3U * 2U * 4U);
  EXPECT_LT(shadow.error_max, 1e-12);
}

// Decoding token by token, and prefilling the same history at once, in the same bits: queries in
// the middle of a prefill follow the rule too.
TEST_P(LlamaWithRule, PrefillAndDecodeFollowTheSameRule) {
  const auto far = make_oracle_engine(model_, kRule);
  const auto exact = make_oracle_engine(model_);
  std::vector<TokenId> tokens = {1, 2, 3, 4, 5, 6, 7, 8};
  ASSERT_TRUE(far->admit({.token_count = 8, .tokens = tokens}));
  StepResult result = far->prefill({.first = 0, .count = 8, .last = true});
  const std::vector<SlotIndex> slot = {0};
  for (Epoch step = 1; step <= 30; ++step) {
    tokens.push_back(result.rows[0].token);
    ASSERT_TRUE(far->extend(0));
    far->submit({.step = step, .slots = slot});
    result = far->collect();
  }
  const std::vector<float> decoded(result.rows[0].output.begin(), result.rows[0].output.end());
  const ShadowError shadow = far->usage().shadow;
  // Of 31 rows, those after 8 to 13 positions see no entry.
  EXPECT_EQ(shadow.outputs, 25U * 2U * 4U);
  EXPECT_LE(shadow.error_over_bound_max, 1);
  EXPECT_GT(shadow.error_max, 1e-3);

  const auto last_row = [&](Engine& oracle) {
    oracle.release(0);
    const auto count = static_cast<std::uint32_t>(tokens.size());
    EXPECT_TRUE(oracle.admit({.token_count = count, .tokens = tokens}));
    const StepResult row = oracle.prefill({.first = 0, .count = count, .last = true});
    return std::vector<float>(row.rows[0].output.begin(), row.rows[0].output.end());
  };
  EXPECT_EQ(decoded, last_row(*far));
  EXPECT_NE(decoded, last_row(*exact));
}

}  // namespace
}  // namespace kvrm
