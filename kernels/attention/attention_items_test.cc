// How a launch of attention is cut into items changes no bit: chunks merged in an item, and rows of
// one history that read each tile together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "kernels/attention/attention_case.h"
#include "kernels/attention/row_positions.h"

namespace kvrm {
namespace {

using ::testing::Each;

// Positions [first, first + count) of one history, as a prefill has them; with a far history all
// see the same entries.
TestBatch positions_of_one_history(std::uint32_t first, std::uint32_t count, bool far) {
  TestBatch batch;
  batch.one_history = true;
  batch.head_dim = 40;
  for (std::uint32_t i = 0; i < count; ++i) {
    TestRow row{99, first + i + 1, {}};
    if (far) {
      row.far = {.first = 64, .entries = 5, .window = 128};
      row.largest_count = 9;
    }
    batch.rows.push_back(row);
  }
  return batch;
}

RC_GTEST_PROP(AttentionItems, RowsThatReadATileTogetherGetTheirOwnBits, ()) {
  using rc::gen::element;
  using rc::gen::inRange;
  const bool far = *rc::gen::arbitrary<bool>();
  TestBatch batch =
      positions_of_one_history(*inRange(far ? 129U : 0U, 300U), *inRange(1U, 40U), far);
  batch.dtype = *element(DType::f32, DType::f16, DType::bf16);
  batch.tile_tokens = *element(16U, 32U, 64U);
  batch.split_tiles = *inRange(1U, 5U);
  TestPlacement placement;
  placement.addressing =
      *element(KvAddressing::contiguous, KvAddressing::table, KvAddressing::groups);
  placement.block_tokens = *element(8U, 16U, 64U);
  placement.run_blocks = *inRange(1U, 5U);
  for (const AttentionTarget& target : attention_targets()) {
    placement.rows_per_item = 1;
    placement.wanted_items = 0;
    const std::vector<float> apart = run_attention(*target.kernels, batch, placement);
    placement.rows_per_item = *inRange(2U, kMaxRowsPerItem + 1);
    placement.wanted_items = *inRange(0U, 4U);
    RC_ASSERT(run_attention(*target.kernels, batch, placement) == apart);
  }
}

// Some rows are much longer than the rest, so that their later chunks are items of their own.
RC_GTEST_PROP(AttentionItems, ChunksMergedInAnItemGiveTheBitsOfTheMerge, ()) {
  using rc::gen::inRange;
  TestBatch batch;
  batch.dtype = *rc::gen::element(DType::f32, DType::f16, DType::bf16);
  batch.split_tiles = *inRange(1U, 4U);
  const auto rows = *inRange<std::uint64_t>(1, 6);
  for (std::uint64_t row = 0; row < rows; ++row) {
    batch.rows.push_back({row, *inRange(0U, row % 3 == 0 ? 600U : 60U), {}});
  }
  TestPlacement placement;
  placement.extra_chunks = *inRange(0U, 3U);
  if (*rc::gen::arbitrary<bool>()) placement.compute_length = batch.longest() + *inRange(0U, 200U);
  for (const AttentionTarget& target : attention_targets()) {
    placement.wanted_items = 0;
    const std::vector<float> apart = run_attention(*target.kernels, batch, placement);
    for (const std::uint32_t items : {1U, 2U, 5U}) {
      placement.wanted_items = items;
      RC_ASSERT(run_attention(*target.kernels, batch, placement) == apart);
    }
  }
}

class AttentionItemsTest : public testing::TestWithParam<AttentionTarget> {};

INSTANTIATE_TEST_SUITE_P(Targets, AttentionItemsTest, testing::ValuesIn(attention_targets()),
                         [](const auto& target) { return std::string(target.param.name); });

// The largest batch that an experiment may have, against the same rows in launches of 64.
TEST_P(AttentionItemsTest, ABatchOf1024GivesTheBitsOfSmallOnes) {
  constexpr std::uint32_t kRows = 1024;
  constexpr std::uint32_t kSmall = 64;
  TestBatch batch;
  batch.dtype = DType::bf16;
  batch.split_tiles = 1;
  for (std::uint32_t row = 0; row < kRows; ++row) batch.rows.push_back({row, row * 7 % 50, {}});
  TestPlacement placement;
  placement.addressing = KvAddressing::groups;
  placement.wanted_items = 16;
  const std::vector<float> together = run_attention(*GetParam().kernels, batch, placement);
  std::vector<float> apart;
  for (std::uint32_t first = 0; first < kRows; first += kSmall) {
    TestBatch small = batch;
    small.rows.assign(batch.rows.begin() + first, batch.rows.begin() + first + kSmall);
    const std::vector<float> output = run_attention(*GetParam().kernels, small, {});
    apart.insert(apart.end(), output.begin(), output.end());
  }
  EXPECT_EQ(together, apart);
}

struct Launch {
  std::vector<std::uint32_t> lengths;
  AttentionArgs args;

  Launch(std::vector<std::uint32_t> row_lengths, std::uint32_t wanted_items)
      : lengths(std::move(row_lengths)) {
    args.tile_tokens = 16;
    args.split_tiles = 2;
    args.rows = static_cast<std::uint32_t>(lengths.size());
    args.chunks = 10;
    args.wanted_items = wanted_items;
    args.length = lengths.data();
  }
  // How often each (row, chunk) is folded.
  std::vector<std::vector<int>> folds() const {
    std::vector<std::vector<int>> counts(args.rows, std::vector<int>(args.chunks, 0));
    for (std::uint32_t item = 0; item < attention_items(args); ++item) {
      const ItemRows rows = item_rows(args, item);
      for (std::uint32_t row = rows.first; row < rows.last; ++row) {
        for (std::uint32_t c = rows.first_chunk; c < rows.last_chunk; ++c) ++counts[row][c];
      }
    }
    return counts;
  }
};

TEST(AttentionItems, CoverEveryChunkOfEveryRowOnce) {
  for (const std::uint32_t wanted : {0U, 1U, 4U, 100U}) {
    const Launch launch({320, 1, 0, 33, 64}, wanted);
    const auto folds = launch.folds();
    EXPECT_THAT(folds[0], Each(1)) << wanted;
    EXPECT_EQ(folds[1], (std::vector<int>{1, 0, 0, 0, 0, 0, 0, 0, 0, 0})) << wanted;
    EXPECT_THAT(folds[2], Each(0)) << wanted;
    EXPECT_EQ(folds[3], (std::vector<int>{1, 1, 0, 0, 0, 0, 0, 0, 0, 0})) << wanted;
    EXPECT_EQ(folds[4], (std::vector<int>{1, 1, 0, 0, 0, 0, 0, 0, 0, 0})) << wanted;
  }
}

// One history alone is shared; among equals every history is one item.
TEST(AttentionItems, AreSharedWhereOneRowIsMuchLonger) {
  const auto busy_items = [](const Launch& launch) {
    int busy = 0;
    for (std::uint32_t item = 0; item < attention_items(launch.args); ++item) {
      const ItemRows rows = item_rows(launch.args, item);
      busy += rows.first_chunk < rows.last_chunk ? 1 : 0;
    }
    return busy;
  };
  EXPECT_EQ(busy_items(Launch({320}, 8)), 10);
  EXPECT_EQ(busy_items(Launch({320}, 1)), 1);
  EXPECT_EQ(busy_items(Launch(std::vector<std::uint32_t>(8, 320), 8)), 8);
  EXPECT_EQ(busy_items(Launch({320, 32, 32, 32}, 4)), 4 + 7);  // three chunks and seven items
}

TEST(AttentionItems, HaveRoomForTheirRowsInTheScratch) {
  EXPECT_EQ(attention_rows_per_item(32, 128), kMaxRowsPerItem);
  EXPECT_GE(attention_rows_per_item(128, 256), 1U);
  EXPECT_LT(attention_rows_per_item(128, 256), kMaxRowsPerItem);
}

}  // namespace
}  // namespace kvrm
