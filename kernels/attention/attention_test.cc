// Every target of decode attention against double precision, and the bit-identity that engines are
// compared by: a row's result depends on its query, its history's content and its length only.
#include "kernels/attention/attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/attention/attention_case.h"

namespace kvrm {
namespace {

constexpr KvAddressing kAddressings[] = {KvAddressing::contiguous, KvAddressing::table,
                                         KvAddressing::groups};
constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16};

std::vector<TestRow> rows_of(const std::vector<std::uint32_t>& lengths) {
  std::vector<TestRow> rows;
  for (const std::uint32_t length : lengths) rows.push_back({0x1234567 + rows.size(), length, {}});
  return rows;
}

// Length 1, and both sides of lane groups, tiles, blocks and chunks; a padding row in the middle.
std::vector<TestRow> edge_rows(std::uint32_t tile_tokens, std::uint32_t chunk_tokens) {
  return rows_of({1, 15, 16, 17, tile_tokens, tile_tokens + 1, 0, chunk_tokens - 1, chunk_tokens,
                  chunk_tokens + 1, 2 * chunk_tokens, 2 * chunk_tokens + tile_tokens + 3});
}

TestBatch make_batch(DType dtype, std::uint32_t query_heads, std::uint32_t kv_heads,
                     std::uint32_t head_dim, std::uint32_t tile_tokens, std::uint32_t split_tiles) {
  TestBatch batch;
  batch.dtype = dtype;
  batch.query_heads = query_heads;
  batch.kv_heads = kv_heads;
  batch.head_dim = head_dim;
  batch.tile_tokens = tile_tokens;
  batch.split_tiles = split_tiles;
  batch.rows = edge_rows(tile_tokens, tile_tokens * split_tiles);
  return batch;
}

// Every number of query heads a kv head that is folded differently, and head dims with and without
// a rest at each lane count.
std::vector<TestBatch> batches(DType dtype) {
  return {make_batch(dtype, 1, 1, 8, 16, 1),   make_batch(dtype, 4, 2, 64, 16, 4),
          make_batch(dtype, 3, 1, 40, 32, 2),  make_batch(dtype, 8, 2, 128, 32, 2),
          make_batch(dtype, 7, 1, 24, 64, 1),  make_batch(dtype, 10, 2, 72, 48, 2),
          make_batch(dtype, 2, 1, 256, 64, 1), make_batch(dtype, 9, 1, 16, 16, 3)};
}

void expect_near(const std::vector<float>& output, const std::vector<double>& exact,
                 double tolerance, const std::string& what) {
  ASSERT_EQ(output.size(), exact.size());
  for (std::size_t i = 0; i < output.size(); ++i) {
    ASSERT_NEAR(output[i], exact[i], tolerance) << what << ", element " << i;
  }
}

class AttentionTest : public testing::TestWithParam<AttentionTarget> {
 protected:
  const AttentionKernels& kernels() const { return *GetParam().kernels; }
};

INSTANTIATE_TEST_SUITE_P(Targets, AttentionTest, testing::ValuesIn(attention_targets()),
                         [](const auto& target) { return std::string(target.param.name); });

TEST_P(AttentionTest, IsNearDoublePrecision) {
  for (const DType dtype : kTypes) {
    for (const TestBatch& batch : batches(dtype)) {
      const std::vector<double> exact = exact_attention(batch);
      for (const KvAddressing addressing : kAddressings) {
        TestPlacement placement;
        placement.addressing = addressing;
        placement.block_tokens = batch.tile_tokens;
        expect_near(run_attention(kernels(), batch, placement), exact, GetParam().most_error,
                    "head_dim " + std::to_string(batch.head_dim));
      }
    }
  }
}

// Logits that differ by hundreds: weights underflow to zero and the maximum moves between tiles.
TEST_P(AttentionTest, SurvivesSharpSoftmax) {
  TestBatch batch = make_batch(DType::f32, 4, 2, 64, 16, 4);
  batch.query_factor = 200;
  expect_near(run_attention(kernels(), batch, {}), exact_attention(batch), 2e-4, "sharp");
}

TEST_P(AttentionTest, PaddingRowsGiveZeros) {
  TestBatch batch = make_batch(DType::f16, 4, 2, 16, 16, 4);
  batch.rows = rows_of({0, 0, 0});
  EXPECT_THAT(run_attention(kernels(), batch, {}), testing::Each(0.0F));
}

std::vector<TestPlacement> placements(const TestBatch& batch) {
  std::vector<TestPlacement> all;
  for (const KvAddressing addressing : kAddressings) {
    for (const std::uint32_t block_tokens : {8U, 16U, 32U, 64U, 128U}) {
      TestPlacement placement;
      placement.addressing = addressing;
      placement.block_tokens = block_tokens;
      placement.run_blocks = std::max(1U, block_tokens / 16);
      placement.pass_far = block_tokens % 64 != 0;
      placement.prefetch_runs = block_tokens / 32 % 2;
      placement.extra_chunks = block_tokens % 3;
      placement.reverse_histories = block_tokens < 64;
      placement.seed = block_tokens;
      all.push_back(placement);
      if (addressing == KvAddressing::contiguous) {
        all.back().compute_length = batch.longest() + 2 * block_tokens;
      }
    }
  }
  return all;
}

// Tiles of 48 fit no block size above, so they are left out.
TEST_P(AttentionTest, BitsDoNotDependOnPlacement) {
  for (const DType dtype : kTypes) {
    for (const TestBatch& batch : batches(dtype)) {
      if (batch.tile_tokens == 48) continue;
      const std::vector<float> expected = run_attention(kernels(), batch, {});
      for (const TestPlacement& placement : placements(batch)) {
        ASSERT_EQ(run_attention(kernels(), batch, placement), expected)
            << "addressing " << static_cast<int>(placement.addressing) << ", block "
            << placement.block_tokens << ", head_dim " << batch.head_dim;
      }
    }
  }
}

TEST_P(AttentionTest, BitsDoNotDependOnTheBatch) {
  for (const DType dtype : kTypes) {
    TestBatch batch = make_batch(dtype, 8, 2, 72, 16, 4);
    const std::vector<float> together = run_attention(kernels(), batch, {});
    const std::vector<TestRow> rows = batch.rows;
    const std::size_t width = std::size_t{batch.query_heads} * batch.head_dim;
    for (std::size_t row = 0; row < rows.size(); ++row) {
      batch.rows = {rows[row]};
      const std::vector<float> alone = run_attention(kernels(), batch, {});
      const auto first = together.begin() + static_cast<std::ptrdiff_t>(row * width);
      ASSERT_EQ(alone, std::vector<float>(first, first + static_cast<std::ptrdiff_t>(width)));
    }
  }
}

// The canonical order is real: other tiles or chunks give other bits.
TEST_P(AttentionTest, BitsFollowTheCanonicalOrder) {
  TestBatch batch = make_batch(DType::f32, 4, 2, 64, 16, 4);
  batch.rows = rows_of({500});
  const std::vector<float> expected = run_attention(kernels(), batch, {});
  batch.split_tiles = 8;
  EXPECT_NE(run_attention(kernels(), batch, {}), expected);
}

TestBatch random_batch() {
  using rc::gen::element;
  using rc::gen::inRange;
  TestBatch batch;
  batch.dtype = *element(DType::f32, DType::f16, DType::bf16);
  batch.kv_heads = *inRange(1U, 3U);
  batch.query_heads = batch.kv_heads * *inRange(1U, 6U);
  batch.head_dim = 8 * *inRange(1U, 9U);
  batch.tile_tokens = *element(16U, 32U, 64U);
  batch.split_tiles = *inRange(1U, 6U);
  const auto lengths = *rc::gen::container<std::vector<std::uint32_t>>(*inRange<std::size_t>(1, 5),
                                                                       inRange(0U, 300U));
  batch.rows = rows_of(lengths);
  return batch;
}

TestPlacement random_placement(const TestBatch& batch) {
  using rc::gen::element;
  using rc::gen::inRange;
  TestPlacement placement;
  placement.addressing =
      *element(KvAddressing::contiguous, KvAddressing::table, KvAddressing::groups);
  placement.block_tokens = *element(8U, 16U, 32U, 64U, 128U);
  placement.run_blocks = *inRange(1U, 9U);
  placement.extra_chunks = *inRange(0U, 3U);
  placement.prefetch_runs = *inRange(0U, 2U);
  placement.reverse_histories = *rc::gen::arbitrary<bool>();
  placement.pass_far = *rc::gen::arbitrary<bool>();
  placement.seed = *rc::gen::arbitrary<std::uint64_t>();
  if (placement.addressing == KvAddressing::contiguous && *rc::gen::arbitrary<bool>()) {
    placement.compute_length = batch.longest() + *inRange(0U, 100U);
  }
  return placement;
}

RC_GTEST_PROP(AttentionProperty, AnyMixIsExactAndPlacementFree, ()) {
  const TestBatch batch = random_batch();
  const TestPlacement one = random_placement(batch);
  const TestPlacement other = random_placement(batch);
  const std::vector<double> exact = exact_attention(batch);
  for (const AttentionTarget& target : attention_targets()) {
    const std::vector<float> output = run_attention(*target.kernels, batch, one);
    RC_ASSERT(output == run_attention(*target.kernels, batch, other));
    for (std::size_t i = 0; i < output.size(); ++i) {
      RC_ASSERT(std::abs(output[i] - exact[i]) < target.most_error);
    }
  }
}

}  // namespace
}  // namespace kvrm
