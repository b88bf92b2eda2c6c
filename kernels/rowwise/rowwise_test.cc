// Every target of the row-wise kernels against double precision or the contract's formula, and
// row by row: a row's result is the same alone as in a batch.
#include "kernels/rowwise/rowwise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "harness/base/hash.h"
#include "harness/base/prng.h"
#include "harness/contract/content.h"
#include "kernels/rowwise/rowwise_kernels.h"
#include "kernels/simd/targets.h"

namespace kvrm {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::uint32_t kRows = 3;

struct Target {
  const char* name;
  const RowwiseKernels* kernels;
};

std::vector<Target> targets() {
  std::vector<Target> all = {{"reference", &reference::rowwise_kernels()}};
  if (cpu_runs_sse4()) all.push_back({"sse4", &N_SSE4::rowwise_kernels()});
  if (cpu_runs_avx2()) all.push_back({"avx2", &N_AVX2::rowwise_kernels()});
  if (cpu_runs_avx512()) all.push_back({"avx512", &N_AVX3::rowwise_kernels()});
  return all;
}

class RowwiseTest : public testing::TestWithParam<Target> {
 protected:
  const RowwiseKernels& kernels() const { return *GetParam().kernels; }
};
INSTANTIATE_TEST_SUITE_P(Targets, RowwiseTest, testing::ValuesIn(targets()),
                         [](const auto& target) { return std::string(target.param.name); });

void run_items(const Kernel& kernel, const void* args, std::uint32_t items) {
  WorkerContext worker;
  for (std::uint32_t item = items; item-- > 0;) kernel.host(args, item, worker);
}

std::vector<float> random_floats(std::size_t count, std::uint64_t seed) {
  RandomStream random(seed, "rowwise_test");
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

// Widths that no, one or several vectors fill.
constexpr std::uint32_t kWidths[] = {1, 8, 64, 172, 259};

TEST_P(RowwiseTest, AddNormFollowsItsFormula) {
  for (const std::uint32_t dim : kWidths) {
    const std::vector<float> before = random_floats(kRows * dim, 1);
    const std::vector<float> delta = random_floats(kRows * dim, 2);
    const std::vector<float> weight = random_floats(dim, 3);
    std::vector<float> hidden = before;
    std::vector<float> output(kRows * dim, kNan);
    AddNormArgs args{hidden.data(), delta.data(), weight.data(), output.data(), dim, 1e-5F};
    run_items(kernels().add_norm, &args, kRows);
    for (std::uint32_t row = 0; row < kRows; ++row) {
      double squares = 0;
      for (std::uint32_t i = row * dim; i < (row + 1) * dim; ++i) {
        ASSERT_EQ(hidden[i], before[i] + delta[i]);
        squares += double{hidden[i]} * hidden[i];
      }
      const double norm = std::sqrt(squares / dim + 1e-5);
      for (std::uint32_t i = 0; i < dim; ++i) {
        const double exact = double{hidden[row * dim + i]} / norm * weight[i];
        ASSERT_NEAR(output[row * dim + i], exact, 2e-6 * (1 + std::abs(exact)));
      }
    }
  }
}

TEST_P(RowwiseTest, AddNormWithoutDeltaKeepsHiddenAndIsRowInvariant) {
  constexpr std::uint32_t kDim = 172;
  const std::vector<float> weight = random_floats(kDim, 3);
  std::vector<float> hidden = random_floats(kRows * kDim, 4);
  const std::vector<float> before = hidden;
  std::vector<float> output(kRows * kDim, kNan);
  AddNormArgs args{hidden.data(), nullptr, weight.data(), output.data(), kDim, 1e-5F};
  run_items(kernels().add_norm, &args, kRows);
  EXPECT_EQ(hidden, before);
  std::vector<float> alone(kDim, kNan);
  args.hidden = hidden.data() + 2 * kDim;
  args.output = alone.data();
  run_items(kernels().add_norm, &args, 1);
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), output.begin() + 2 * kDim));
}

TEST_P(RowwiseTest, RotaryRotatesAdjacentPairs) {
  for (const std::uint32_t head_dim : {8U, 24U, 128U}) {
    constexpr std::uint32_t kMaxLen = 40;
    std::vector<float> table(kMaxLen * head_dim, kNan);
    fill_rotary_table(table.data(), kMaxLen, head_dim, 10000.0F);
    const std::vector<std::uint32_t> position = {0, 39, 7};
    const std::uint32_t stride = 5 * head_dim + 3;  // two query heads, then one key head, and space
    const std::vector<float> before = random_floats(kRows * stride, head_dim);
    std::vector<float> rows = before;
    RotaryArgs args{table.data(), position.data(), rows.data(), rows.data() + 2 * head_dim, 2, 1,
                    head_dim,     stride};
    run_items(kernels().rotary, &args, kRows);
    for (std::uint32_t i = 0; i < rows.size(); ++i) {
      const std::uint32_t column = i % stride;
      if (column >= 3 * head_dim) {
        ASSERT_EQ(rows[i], before[i]) << "outside the heads";
        continue;
      }
      const std::uint32_t pair = column % head_dim / 2;
      const double angle = position[i / stride] * std::pow(10000.0, -2.0 * pair / head_dim);
      const double x = before[i - column % 2];
      const double y = before[i - column % 2 + 1];
      const double exact = column % 2 == 0 ? x * std::cos(angle) - y * std::sin(angle)
                                           : x * std::sin(angle) + y * std::cos(angle);
      ASSERT_NEAR(rows[i], exact, 1e-6) << "position " << position[i / stride];
    }
  }
}

TEST_P(RowwiseTest, SwigluFollowsItsFormula) {
  for (const std::uint32_t width : kWidths) {
    const std::uint32_t stride = 2 * width + 1;  // gate and up side by side
    std::vector<float> rows = random_floats(kRows * stride, width);
    rows[0] = -200.0F;  // exp overflows f32
    if (width > 1) rows[1] = 200.0F;
    const std::vector<float> before = rows;
    SwiGluArgs args{rows.data(), rows.data() + width, width, stride};
    run_items(kernels().swiglu, &args, kRows);
    for (std::uint32_t i = 0; i < rows.size(); ++i) {
      if (i % stride >= width) {
        ASSERT_EQ(rows[i], before[i]) << "outside the gate";
        continue;
      }
      const double gate = before[i];
      const double exact = gate / (1 + std::exp(-gate)) * before[i + width];
      ASSERT_NEAR(rows[i], exact, 1e-6 * (1 + std::abs(exact)));
    }
  }
}

TokenId argmax_of(const RowwiseKernels& kernels, const std::vector<float>& logits) {
  TokenId token = 12345;
  const auto count = static_cast<std::uint32_t>(logits.size());
  ArgmaxArgs args{logits.data(), count, count, nullptr, &token};
  run_items(kernels.argmax, &args, 1);
  return token;
}

TEST_P(RowwiseTest, ArgmaxTakesTheFirstMaximum) {
  for (const std::uint32_t width : kWidths) {
    std::vector<float> logits = random_floats(width, width);
    for (std::uint32_t winner = 0; winner < width; ++winner) {
      logits.assign(width, -3.0F);
      logits[winner] = -1.0F;
      for (std::uint32_t tie = winner; tie < width; tie += 5) logits[tie] = -1.0F;
      ASSERT_EQ(argmax_of(kernels(), logits), winner) << "of " << width;
    }
  }
  EXPECT_EQ(argmax_of(kernels(), std::vector<float>(100, -kInfinity)), 0U);
  EXPECT_EQ(argmax_of(kernels(), std::vector<float>(100, kNan)), 0U);
  std::vector<float> one_number(100, kNan);
  one_number[37] = -5.0F;
  EXPECT_EQ(argmax_of(kernels(), one_number), 37U);
}

TEST_P(RowwiseTest, ArgmaxSkipsPaddingRows) {
  const std::vector<float> logits = {1, 2, 3, kNan, 9, 1, 1, kNan};
  const std::vector<std::uint32_t> length = {5, 0};
  std::vector<TokenId> token(2, 77);
  ArgmaxArgs args{logits.data(), 3, 4, length.data(), token.data()};
  run_items(kernels().argmax, &args, 2);
  EXPECT_THAT(token, testing::ElementsAre(2U, kNoToken));
}

TEST_P(RowwiseTest, ContentIsTheContractsFunction) {
  constexpr std::uint32_t kHeadDim = 24;
  const std::vector<std::uint64_t> content_key = {1, 2, 0x8000000000000003ULL};
  const std::vector<std::uint32_t> position = {0, 5, 1'000'000};
  const std::vector<std::uint32_t> length = {1, 0, 7};
  std::vector<float> query(kRows * 100, kNan);
  std::vector<float> key(kRows * 60, kNan);
  std::vector<float> value(kRows * 60, kNan);
  ContentArgs args{content_key.data(),
                   position.data(),
                   length.data(),
                   query.data(),
                   key.data(),
                   value.data(),
                   4,
                   2,
                   kHeadDim,
                   31,
                   100,
                   60};
  run_items(kernels().content, &args, kRows);
  const auto check = [&](const std::vector<float>& rows, ContentPart part, std::uint32_t heads,
                         std::uint32_t stride) {
    for (std::uint32_t i = 0; i < rows.size(); ++i) {
      const std::uint32_t row = i / stride;
      const std::uint32_t column = i % stride;
      if (column >= heads * kHeadDim) {
        ASSERT_TRUE(std::isnan(rows[i])) << "outside the heads";
      } else {
        ASSERT_EQ(rows[i], length[row] == 0
                               ? 0.0F
                               : content_value(content_key[row], part, 31, position[row],
                                               column / kHeadDim, column % kHeadDim));
      }
    }
  };
  check(query, ContentPart::query, 4, 100);
  check(key, ContentPart::key, 2, 60);
  check(value, ContentPart::value, 2, 60);
}

TEST_P(RowwiseTest, ContentWithoutQueriesWritesKeysAndValues) {
  const std::uint64_t content_key = 9;
  const std::uint32_t position = 4;
  const std::uint32_t length = 5;
  std::vector<float> key(8, kNan);
  std::vector<float> value(8, kNan);
  ContentArgs args;
  args.content_key = &content_key;
  args.position = &position;
  args.length = &length;
  args.key = key.data();
  args.value = value.data();
  args.query_heads = 2;
  args.kv_heads = 1;
  args.head_dim = 8;
  run_items(kernels().content, &args, 1);
  EXPECT_EQ(key[3], content_value(9, ContentPart::key, 0, 4, 0, 3));
  EXPECT_EQ(value[7], content_value(9, ContentPart::value, 0, 4, 0, 7));
}

TEST(Embedding, CopiesRowsAndZeroesPadding) {
  const std::vector<float> table = {1, 2, 3, 4, 5, 6};
  const std::vector<TokenId> token = {2, kNoToken, 0};
  std::vector<float> hidden(6, kNan);
  EmbeddingArgs args{table.data(), token.data(), hidden.data(), 2};
  run_items(embedding_kernel(), &args, 3);
  EXPECT_THAT(hidden, testing::ElementsAre(5, 6, 0, 0, 1, 2));
}

TEST(Digest, HashesTheRowsBytesOnly) {
  std::vector<float> output = {1, 2, 3, kNan, 4, 5, 6, kNan};
  const std::vector<std::uint32_t> length = {3, 0};
  std::vector<std::uint64_t> digest(2, 99);
  DigestArgs args{output.data(), 3, 4, length.data(), digest.data()};
  run_items(digest_kernel(), &args, 2);
  EXPECT_EQ(digest[0], hash_bytes(std::as_bytes(std::span<const float>(output).first(3))));
  EXPECT_EQ(digest[1], 0U);
  const std::uint64_t before = digest[0];
  output[2] = std::nextafter(output[2], 4.0F);
  run_items(digest_kernel(), &args, 2);
  EXPECT_NE(digest[0], before);
}

}  // namespace
}  // namespace kvrm
