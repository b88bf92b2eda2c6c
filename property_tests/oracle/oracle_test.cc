// The oracle itself: attention by hand, and a real model's tokens as another program gave them. It
// reads the checkpoint with a reader of its own, so that engines and oracle share no such code.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "harness/contract/content.h"
#include "property_tests/oracle/oracle_engine.h"
#include "property_tests/oracle/reference_attention.h"
#include "property_tests/oracle/test_models.h"

namespace kvrm {
namespace {

TEST(ReferenceAttention, WeighsValuesByTheSoftmaxOfScaledProducts) {
  // head_dim 4, so logits are q.k / 2: 2 log 1, 2 log 2 and 2 log 5 give weights 1/8, 2/8, 5/8.
  const std::vector<double> query = {2, 0, 0, 0};
  const std::vector<double> keys = {std::log(1), 9, 9,           9, std::log(2), 9,
                                    9,           9, std::log(5), 9, 9,           9};
  const std::vector<double> values = {8, 0, 0, 1, 0, 8, 0, 1, 0, 0, 8, 1};
  std::vector<double> weights;
  std::vector<double> output(4, 99.0);
  reference_attention(query, {.keys = keys, .values = values, .bias = {}}, weights, output);
  const std::vector<double> expected = {1, 2, 5, 1};
  for (std::size_t d = 0; d < 4; ++d) EXPECT_NEAR(output[d], expected[d], 1e-12);
}

TEST(ReferenceAttention, HoldsForLogitsThatOverflowAnExponential) {
  const std::vector<double> query = {2000};
  const std::vector<double> keys = {1, 2};
  std::vector<double> weights;
  std::vector<double> output(1);
  const std::vector<double> values = {3, 7};
  reference_attention(query, {.keys = keys, .values = values, .bias = {}}, weights, output);
  EXPECT_DOUBLE_EQ(output[0], 7);
}

// Attention output element (layer 1, query head 3, dim 5) after `positions`, term by term.
double element_by_hand(const ModelShape& shape, std::uint64_t key, std::uint32_t positions) {
  double sum = 0;
  double total = 0;
  for (std::uint32_t i = 0; i < positions; ++i) {
    double logit = 0;
    for (std::uint32_t d = 0; d < shape.head_dim; ++d) {
      logit += double{content_value(key, ContentPart::query, 1, positions - 1, 3, d)} *
               content_value(key, ContentPart::key, 1, i, 1, d);
    }
    const double weight = std::exp(logit / std::sqrt(16.0));
    sum += weight;
    total += weight * content_value(key, ContentPart::value, 1, i, 1, 5);
  }
  return total / sum;
}

TEST(OracleEngine, AttentionOnlyFollowsTheContentThroughPrefillAndDecode) {
  ModelShape shape;
  shape.kind = ModelKind::attention_only;
  shape.layers = 2;
  shape.query_heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 16;
  shape.max_len = 64;
  shape.kv_dtype = DType::bf16;
  const ShapeOnlyModel model(shape);
  const auto oracle = make_oracle_engine(model);
  constexpr std::uint64_t kContentKey = 12345;
  constexpr std::size_t kElement = (1 * 4 + 3) * 16 + 5;
  const std::vector<SlotIndex> slot = {0};

  ASSERT_TRUE(oracle->admit({.content_key = kContentKey, .token_count = 20}));
  EXPECT_TRUE(oracle->prefill({.first = 0, .count = 13, .last = false}).rows.empty());
  const StepResult prefilled = oracle->prefill({.first = 13, .count = 7, .last = true});
  ASSERT_EQ(prefilled.rows.size(), 1U);
  ASSERT_EQ(prefilled.rows[0].output.size(), 2U * 4U * 16U);
  EXPECT_NEAR(prefilled.rows[0].output[kElement], element_by_hand(shape, kContentKey, 20), 1e-7);
  ASSERT_TRUE(oracle->extend(0));
  oracle->submit({.step = 1, .slots = slot});
  EXPECT_NEAR(oracle->collect().rows[0].output[kElement], element_by_hand(shape, kContentKey, 21),
              1e-7);
  oracle->release(0);
  EXPECT_EQ(oracle->usage().memory.live_bytes, 0U);
}

// A llama2.c checkpoint: seven integers, then the tensors in a fixed order.
class Checkpoint final : public Model {
 public:
  Checkpoint(const std::filesystem::path& file, DType kv_dtype) {
    std::ifstream in(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    std::int32_t header[7];
    std::memcpy(header, bytes.data(), sizeof(header));
    data_.resize((bytes.size() - sizeof(header)) / sizeof(float));
    std::memcpy(data_.data(), bytes.data() + sizeof(header), data_.size() * sizeof(float));
    shape_.model_dim = static_cast<std::uint32_t>(header[0]);
    shape_.hidden_dim = static_cast<std::uint32_t>(header[1]);
    shape_.layers = static_cast<std::uint32_t>(header[2]);
    shape_.query_heads = static_cast<std::uint32_t>(header[3]);
    shape_.kv_heads = static_cast<std::uint32_t>(header[4]);
    shape_.vocabulary =
        static_cast<std::uint32_t>(header[5]);  // positive: the classifier is shared
    shape_.max_len = static_cast<std::uint32_t>(header[6]);
    shape_.head_dim = shape_.model_dim / shape_.query_heads;
    shape_.kv_dtype = kv_dtype;
    place_weights();
  }

 private:
  const ModelShape& do_shape() const override { return shape_; }
  const ModelWeights& do_weights() const override { return weights_; }
  std::uint64_t do_digest() const override { return 0; }

  std::span<const float> take(std::size_t count) {
    const std::span<const float> tensor(data_.data() + used_, count);
    used_ += count;
    return tensor;
  }

  void place_weights() {
    const std::size_t dim = shape_.model_dim;
    const std::size_t kv_dim = std::size_t{shape_.kv_heads} * shape_.head_dim;
    const std::size_t hidden = shape_.hidden_dim;
    weights_.layers.resize(shape_.layers);
    weights_.embedding = weights_.classifier = take(shape_.vocabulary * dim);
    for (LayerWeights& layer : weights_.layers) layer.attention_norm = take(dim);
    for (LayerWeights& layer : weights_.layers) layer.query = take(dim * dim);
    for (LayerWeights& layer : weights_.layers) layer.key = take(kv_dim * dim);
    for (LayerWeights& layer : weights_.layers) layer.value = take(kv_dim * dim);
    for (LayerWeights& layer : weights_.layers) layer.output = take(dim * dim);
    for (LayerWeights& layer : weights_.layers) layer.ffn_norm = take(dim);
    for (LayerWeights& layer : weights_.layers) layer.gate = take(hidden * dim);
    for (LayerWeights& layer : weights_.layers) layer.down = take(dim * hidden);
    for (LayerWeights& layer : weights_.layers) layer.up = take(hidden * dim);
    weights_.final_norm = take(dim);
  }

  ModelShape shape_;
  ModelWeights weights_;
  std::vector<float> data_;
  std::size_t used_ = 0;
};

std::vector<TokenId> generate(Engine& oracle, const std::vector<TokenId>& prompt,
                              std::uint32_t steps) {
  constexpr TokenId kBeginOfSequence = 1;  // ends a story, as its last token
  const std::vector<SlotIndex> slot = {0};
  const auto count = static_cast<std::uint32_t>(prompt.size());
  EXPECT_TRUE(oracle.admit({.token_count = count, .tokens = prompt}));
  std::vector<TokenId> tokens = {
      oracle.prefill({.first = 0, .count = count, .last = true}).rows[0].token};
  for (Epoch step = 1; count + tokens.size() <= steps && tokens.back() != kBeginOfSequence;
       ++step) {
    EXPECT_TRUE(oracle.extend(0));
    oracle.submit({.step = step, .slots = slot});
    tokens.push_back(oracle.collect().rows[0].token);
  }
  oracle.release(0);
  return tokens;
}

class Golden : public testing::TestWithParam<DType> {};

TEST_P(Golden, TokensAreThoseOfLlama2c) {
  const char* named = std::getenv("KVRM_DATA_DIR");
  const std::filesystem::path data =
      named != nullptr ? std::filesystem::path(named)
                       : std::filesystem::path(KVRM_SOURCE_DIR) / "../shared/data";
  std::ifstream lines(data / "golden/stories260K.jsonl");
  if (!lines) GTEST_SKIP() << "NO TEST DATA at " << data << ": the oracle's tokens go unchecked";
  const Checkpoint model(data / "model/stories260K.bin", GetParam());
  const auto oracle = make_oracle_engine(model);
  int prompts = 0;
  for (std::string line; std::getline(lines, line); ++prompts) {
    const auto row = nlohmann::json::parse(line);
    const auto prompt = row["prompt_tokens"].get<std::vector<TokenId>>();
    const auto expected = row["output_tokens"].get<std::vector<TokenId>>();
    EXPECT_EQ(generate(*oracle, prompt, row["steps"]), expected) << row["prompt"];
  }
  EXPECT_EQ(prompts, 20);
}

INSTANTIATE_TEST_SUITE_P(KvTypes, Golden, testing::Values(DType::f32, DType::f16),
                         [](const auto& instance) {
                           return std::string(dtype_name(instance.param));
                         });

}  // namespace
}  // namespace kvrm
