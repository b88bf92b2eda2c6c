// Attention over far histories, every target: entries weigh as their bias says, and the gap is as
// if it were not there, whatever its bytes and block ids.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "harness/base/prng.h"
#include "harness/base/units.h"
#include "kernels/attention/attention_case.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kCases = 400;

// Hard states that the random cases must have met.
struct Coverage {
  std::uint64_t partial_tiles = 0;         // a tile ends at the gap
  std::uint64_t partial_lane_groups = 0;   // and a group of 16, at no border of 8
  std::uint64_t second_half_gaps = 0;      // the gap takes just the second half of a group of 16
  std::uint64_t partial_blocks = 0;        // a block is read up to the gap
  std::uint64_t gaps_inside_a_chunk = 0;   // a chunk reads on both sides
  std::uint64_t gap_chunks = 0;            // wholly in the gap
  std::uint64_t leading_gap_chunks = 0;    // and before anything that is read
  std::uint64_t windows_start_chunks = 0;  // the window starts a chunk
  std::uint64_t empty_gaps = 0;            // entries up to the window
  std::uint64_t no_entries = 0;            // a gap behind sinks only
  std::uint64_t entries_over_chunks = 0;   // entries in several chunks
  std::uint64_t entries_start_in_tile = 0;
  std::uint64_t zero_biases = 0;
  std::uint64_t other_biases = 0;
  std::uint64_t mixed_batches = 0;  // rows with and without far history
  std::set<DType> dtypes;
  std::set<std::uint32_t> block_tokens;
  std::set<KvAddressing> addressings;
};

struct FarCase {
  TestBatch batch;
  TestPlacement placement;
};

template <class T>
T one_of(RandomStream& random, const std::vector<T>& values) {
  return values[random.below(values.size())];
}

std::uint32_t below(RandomStream& random, std::uint32_t bound) {
  return static_cast<std::uint32_t>(random.below(bound));
}

TestPlacement draw_placement(RandomStream& random) {
  TestPlacement placement;
  placement.addressing = one_of<KvAddressing>(
      random, {KvAddressing::contiguous, KvAddressing::table, KvAddressing::groups});
  placement.block_tokens = one_of<std::uint32_t>(random, {8, 16, 32, 64, 128});
  placement.run_blocks = 1 + below(random, 8);
  placement.extra_chunks = below(random, 3);
  placement.prefetch_runs = below(random, 2);
  placement.reverse_histories = random.below(2) == 0;
  placement.seed = random.next();
  return placement;
}

// `unit`: the larger of block and tile. Now and then the row has no far history.
TestRow draw_row(RandomStream& random, std::uint32_t unit, std::uint32_t block_tokens) {
  TestRow row{random.next(), 1 + below(random, 300), {}};
  if (random.below(6) == 0) return row;
  row.far.first = block_tokens * one_of<std::uint32_t>(random, {0, 0, 0, 1, 1, 2, 3});
  row.far.entries = one_of<std::uint32_t>(
      random, {0, 0, 1, 8, unit, unit, below(random, 20), below(random, 100), below(random, 200)});
  const auto reached = static_cast<std::uint32_t>(round_up(row.far.first + row.far.entries, unit));
  row.far.window =
      reached + unit * one_of<std::uint32_t>(random, {0, 0, 1, 1, 2, below(random, 12)});
  if (row.far.window == 0) row.far = {};
  row.length = row.far.window + 1 + below(random, 100);
  row.largest_count = one_of<std::uint32_t>(random, {1, 3, 50, 100'000});
  return row;
}

FarCase draw_case(std::uint64_t seed) {
  RandomStream random(seed, "attention_far_test");
  FarCase drawn;
  TestBatch& batch = drawn.batch;
  batch.dtype = one_of<DType>(random, {DType::f32, DType::f16, DType::bf16});
  batch.kv_heads = 1 + below(random, 2);
  batch.query_heads = batch.kv_heads * (1 + below(random, 5));
  batch.head_dim = 8 * (1 + below(random, 5));
  batch.tile_tokens = one_of<std::uint32_t>(random, {16, 32, 64});
  batch.split_tiles = 1 + below(random, 5);
  drawn.placement = draw_placement(random);
  const std::uint32_t block_tokens = drawn.placement.block_tokens;
  const std::uint64_t rows = 1 + random.below(4);
  for (std::uint64_t row = 0; row < rows; ++row) {
    batch.rows.push_back(draw_row(random, std::max(block_tokens, batch.tile_tokens), block_tokens));
  }
  return drawn;
}

void note_row(const FarCase& drawn, const TestRow& row, Coverage& coverage) {
  const FarSpan& far = row.far;
  if (far.window == 0) return;
  const std::uint32_t tile = drawn.batch.tile_tokens;
  const std::uint32_t chunk = tile * drawn.batch.split_tiles;
  const std::uint32_t gap_first = far.first + far.entries;
  const auto gap_chunk = static_cast<std::uint32_t>(divide_up(gap_first, chunk));
  coverage.partial_tiles += gap_first % tile != 0;
  coverage.partial_lane_groups += gap_first % 8 != 0;
  coverage.second_half_gaps += gap_first % 16 == 8;
  coverage.partial_blocks += gap_first % drawn.placement.block_tokens != 0;
  coverage.gaps_inside_a_chunk += row.gap() > 0 && gap_first % chunk != 0 &&
                                  gap_first / chunk == far.window / chunk &&
                                  far.window % chunk != 0;
  coverage.gap_chunks += (gap_chunk + 1) * chunk <= far.window;
  coverage.leading_gap_chunks += gap_first == 0 && chunk <= far.window;
  coverage.windows_start_chunks += row.gap() > 0 && far.window % chunk == 0;
  coverage.empty_gaps += row.gap() == 0 && far.entries > 0;
  coverage.no_entries += far.entries == 0 && far.first > 0;
  coverage.entries_over_chunks += far.entries > 0 && far.first / chunk != (gap_first - 1) / chunk;
  coverage.entries_start_in_tile += far.entries > 0 && far.first % tile != 0;
  for (std::uint32_t entry = 0; entry < far.entries; ++entry) {
    ++(row.bias(entry) == 0 ? coverage.zero_biases : coverage.other_biases);
  }
}

void note(const FarCase& drawn, Coverage& coverage) {
  std::set<bool> far;
  for (const TestRow& row : drawn.batch.rows) {
    note_row(drawn, row, coverage);
    far.insert(row.far.window != 0);
  }
  coverage.mixed_batches += far.size() == 2;
  coverage.dtypes.insert(drawn.batch.dtype);
  coverage.block_tokens.insert(drawn.placement.block_tokens);
  coverage.addressings.insert(drawn.placement.addressing);
}

void expect_all_met(const Coverage& coverage) {
  const std::uint64_t counts[] = {
      coverage.partial_tiles,      coverage.partial_lane_groups,  coverage.second_half_gaps,
      coverage.partial_blocks,     coverage.gaps_inside_a_chunk,  coverage.gap_chunks,
      coverage.leading_gap_chunks, coverage.windows_start_chunks, coverage.empty_gaps,
      coverage.no_entries,         coverage.entries_over_chunks,  coverage.entries_start_in_tile,
      coverage.zero_biases,        coverage.other_biases,         coverage.mixed_batches};
  EXPECT_THAT(counts, testing::Each(testing::Ge(10U)));
  EXPECT_EQ(coverage.dtypes.size(), 3U);
  EXPECT_EQ(coverage.block_tokens.size(), 5U);
  EXPECT_EQ(coverage.addressings.size(), 3U);
}

class AttentionFarTest : public testing::TestWithParam<AttentionTarget> {
 protected:
  const AttentionKernels& kernels() const { return *GetParam().kernels; }
};

INSTANTIATE_TEST_SUITE_P(Targets, AttentionFarTest, testing::ValuesIn(attention_targets()),
                         [](const auto& target) { return std::string(target.param.name); });

// Everything in a gap and behind a length is NaN, and its blocks are in no table.
TEST_P(AttentionFarTest, IsTheSoftmaxOfWhatTakesPart) {
  Coverage coverage;
  for (std::uint64_t seed = 0; seed < kCases; ++seed) {
    const FarCase drawn = draw_case(seed);
    note(drawn, coverage);
    const std::vector<float> output = run_attention(kernels(), drawn.batch, drawn.placement);
    const std::vector<double> exact = exact_attention(drawn.batch);
    for (std::size_t i = 0; i < output.size(); ++i) {
      ASSERT_NEAR(output[i], exact[i], 4e-6) << "draw_case(" << seed << "), element " << i;
    }
  }
  expect_all_met(coverage);
}

// Any block size whose gap ends where the first one's does, any addressing.
TEST_P(AttentionFarTest, BitsDoNotDependOnPlacement) {
  std::set<std::uint32_t> block_tokens;
  for (std::uint64_t seed = 0; seed < kCases; ++seed) {
    const FarCase drawn = draw_case(seed);
    RandomStream random(seed, "attention_far_test/other");
    TestPlacement other = draw_placement(random);
    other.block_tokens = std::min(other.block_tokens, drawn.placement.block_tokens);
    if (other.block_tokens < drawn.placement.block_tokens) block_tokens.insert(other.block_tokens);
    ASSERT_EQ(run_attention(kernels(), drawn.batch, other),
              run_attention(kernels(), drawn.batch, drawn.placement))
        << "draw_case(" << seed << "), blocks of " << other.block_tokens;
  }
  EXPECT_EQ(block_tokens, (std::set<std::uint32_t>{8, 16, 32, 64}));
}

TEST_P(AttentionFarTest, ZeroSpansAreNoSpans) {
  for (std::uint64_t seed = 0; seed < kCases / 4; ++seed) {
    FarCase drawn = draw_case(seed);
    for (TestRow& row : drawn.batch.rows) row.far = {};
    const std::vector<float> with = run_attention(kernels(), drawn.batch, drawn.placement);
    drawn.placement.pass_far = false;
    ASSERT_EQ(run_attention(kernels(), drawn.batch, drawn.placement), with)
        << "draw_case(" << seed << ")";
  }
}

// Entries of one position each, before a gap of whole chunks that starts with a chunk (or none at
// all): the same tiles and chunks as without far history, so the same bits.
TEST_P(AttentionFarTest, EntriesOfOnePositionAreThatPosition) {
  std::uint64_t gaps = 0;
  for (std::uint64_t seed = 0; seed < kCases / 2; ++seed) {
    FarCase drawn = draw_case(seed);
    RandomStream random(seed, "attention_far_test/ones");
    const std::uint32_t chunk = drawn.batch.tile_tokens * drawn.batch.split_tiles;
    const std::uint32_t unit = std::lcm(chunk, drawn.placement.block_tokens);
    TestBatch plain = drawn.batch;
    for (std::size_t row = 0; row < plain.rows.size(); ++row) {
      const std::uint32_t compact = unit * below(random, 3);
      const std::uint32_t gap = unit * below(random, 3);
      const std::uint32_t window = 1 + below(random, 70);
      const std::uint32_t sinks = std::min(compact, 8 * below(random, 4));
      const std::uint64_t key = plain.rows[row].content_key;
      plain.rows[row] = {key, compact + window, {}};
      drawn.batch.rows[row] = {
          key, compact + gap + window, {sinks, compact - sinks, compact + gap}};
      gaps += gap != 0;
    }
    ASSERT_EQ(run_attention(kernels(), drawn.batch, drawn.placement),
              run_attention(kernels(), plain, drawn.placement))
        << "draw_case(" << seed << ")";
  }
  EXPECT_GT(gaps, 50U);
}

// Logits that differ by hundreds, and biases of up to twenty.
TEST_P(AttentionFarTest, SurvivesSharpSoftmax) {
  TestBatch batch;
  batch.query_factor = 200;
  batch.rows = {{5, 240, {16, 50, 160}, 1'000'000'000}, {6, 200, {0, 0, 128}}};
  const std::vector<float> output = run_attention(kernels(), batch, {});
  const std::vector<double> exact = exact_attention(batch);
  for (std::size_t i = 0; i < output.size(); ++i) ASSERT_NEAR(output[i], exact[i], 2e-4) << i;
}

TEST_P(AttentionFarTest, RefusesSpansThatCannotBe) {
  TestBatch batch;
  batch.rows = {{5, 100, {16, 20, 64}}};
  ASSERT_EQ(run_attention(kernels(), batch, {}).size(), 64U);
  const auto refuses = [&](const TestBatch& bad, const TestPlacement& placement) {
    EXPECT_DEATH(run_attention(kernels(), bad, placement), "CHECK failed");
  };
  TestPlacement full;
  full.compute_length = 128;
  refuses(batch, full);
  batch.rows[0].far.window = 72;  // amid a tile
  refuses(batch, {});
  batch.rows[0].far = {16, 49, 64};  // entries beyond the window
  refuses(batch, {});
  batch.rows[0].far = {16, 20, 112};  // not even the row's own position
  refuses(batch, {});
  batch.rows[0].far = {16, 20, 0};
  refuses(batch, {});
}

}  // namespace
}  // namespace kvrm
