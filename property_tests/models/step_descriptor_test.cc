// The step descriptor: over long random sequences the image after each commit is the rebuild, byte
// for byte, whether the commit carried edits or the whole image, and epochs rise by one.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "property_tests/models/step_life.h"

namespace kvrm {
namespace {

using models::Life;
using models::LifeCounts;
using models::small_limits;

// One step of a life, applied and compared; false where anything differs.
bool step_is_right(Life& life) {
  const Epoch before = life.commits.channel.applied;
  const CommitResult commit = life.step();
  if (commit.epoch != before + 1 || life.commits.builder.record().size() != commit.bytes) {
    return false;
  }
  if (life.commits.apply() != ApplyStatus::ok) return false;
  const std::vector<std::byte> expected = life.expected();
  return life.commits.channel.applied == commit.epoch && life.commits.image() == expected &&
         life.shadow() == expected;
}

TEST(StepDescriptor, TheImageEqualsARebuildAfterEveryCommit) {
  std::uint64_t full = 0;
  std::uint64_t edits = 0;
  const bool holds = rc::check([&] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    const auto max_table_bytes = *rc::gen::element(0U, 48U, 200U, 4000U);
    const auto vocabulary = *rc::gen::element(0U, 50U);
    const MergePolicy policy{.max_gap_blocks = *rc::gen::element(0U, 2U),
                             .max_group_blocks = *rc::gen::element(0U, 1U, 3U)};
    Life life(seed, small_limits(max_table_bytes, vocabulary), policy);
    for (int i = 0; i < 100; ++i) RC_ASSERT(step_is_right(life));
    full += life.counts.full_commits;
    edits += life.counts.commits_of_edits;
  });
  EXPECT_TRUE(holds);
  EXPECT_GT(full, 0U);
  EXPECT_GT(edits, 0U);
}

// A million operations altogether, an operation being a slot's step, a copy, an update, a change of
// a table or a commit.
class MillionOperations : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(MillionOperations, TheImageIsTheRebuild) {
  Life life(GetParam(), small_limits(300, GetParam() % 4 == 3 ? 0 : 50),
            {.max_group_blocks = GetParam() % 3 == 2 ? 2U : 0U});
  while (life.counts.operations < 125'000) ASSERT_TRUE(step_is_right(life));
  const LifeCounts& counts = life.counts;
  constexpr std::uint64_t kOften = 100;
  EXPECT_GT(counts.commits_of_edits, kOften);
  EXPECT_GT(counts.full_commits, kOften);
  EXPECT_GT(counts.full_with_advance, kOften);
  EXPECT_GT(counts.advanced_rows, kOften);
  EXPECT_GT(counts.kept_rows, kOften);
  EXPECT_GT(counts.kept_in_full, kOften);
  EXPECT_GT(counts.border_crossings, kOften);
  EXPECT_GT(counts.entries, kOften);
  EXPECT_GT(counts.departures, kOften);
  EXPECT_GT(counts.replaced_tables, kOften);
  EXPECT_GT(counts.replaced_edits, kOften);
  EXPECT_GT(counts.far_rows, kOften);
  EXPECT_GT(counts.bias_edits, kOften);
  EXPECT_GT(counts.block_copies, kOften);
  EXPECT_GT(counts.stage_copies, kOften);
  EXPECT_GT(counts.dropped_staging, kOften);
  EXPECT_GT(counts.stage_all, kOften);
  EXPECT_GT(counts.far_updates, kOften);
}

INSTANTIATE_TEST_SUITE_P(Chunks, MillionOperations, ::testing::Range<std::uint64_t>(0, 8));

TEST(StepDescriptor, ADecodeStepInsideItsBlocksIsAHeaderAlone) {
  models::Commits commits(small_limits(1000));
  commits.builder.edit_slot({.slot = 2,
                             .flags = kSlotActive | kTokenGiven,
                             .token = 7,
                             .position = 20,
                             .length = 21,
                             .write_slot = 68,
                             .content_key = 5});
  commits.builder.commit(commits.channel);
  ASSERT_EQ(commits.apply(), ApplyStatus::ok);
  commits.sampled[2] = 9;
  commits.builder.advance();
  EXPECT_EQ(commits.builder.commit(commits.channel).bytes, sizeof(StepRecordHeader));
  ASSERT_EQ(commits.apply(), ApplyStatus::ok);
  const RowArrays rows = commits.placed_image().rows;
  EXPECT_EQ(rows.token[2], 9U);
  EXPECT_EQ(rows.position[2], 21U);
  EXPECT_EQ(rows.length[2], 22U);
  EXPECT_EQ(rows.write_slot[2], 69U);
  EXPECT_EQ(rows.length[1], 0U);
}

// Offsets are 64-bit: a pool whose positions do not fit into 32 bits.
TEST(StepDescriptor, AWriteSlotBeyondThirtyTwoBitsAdvances) {
  StepLimits limits = small_limits(1000);
  limits.pool_blocks = 1U << 31;
  models::Commits commits(limits);
  constexpr std::uint64_t kFar = (std::uint64_t{1} << 34) + 6;
  commits.builder.edit_slot({.slot = 0,
                             .flags = kSlotActive | kTokenGiven,
                             .token = 7,
                             .position = 20,
                             .length = 21,
                             .write_slot = kFar});
  commits.builder.commit(commits.channel);
  ASSERT_EQ(commits.apply(), ApplyStatus::ok);
  commits.builder.advance();
  commits.builder.commit(commits.channel);
  ASSERT_EQ(commits.apply(), ApplyStatus::ok);
  EXPECT_EQ(commits.placed_image().rows.write_slot[0], kFar + 1);
}

TEST(StepDescriptor, ABuilderThatIsAskedForTheImpossibleDies) {
  const auto at_a_border = [] {
    models::Commits commits(small_limits(1000));
    commits.builder.edit_slot({.slot = 0,
                               .flags = kSlotActive | kTokenGiven,
                               .token = 7,
                               .position = 20,
                               .length = 21,
                               .write_slot = 31});
    commits.builder.commit(commits.channel);
    commits.apply();
    commits.builder.advance();
    commits.builder.commit(commits.channel);
  };
  EXPECT_DEATH(at_a_border(), "CHECK failed");
  Life life(4, small_limits(1000), {});
  life.step();
  life.step();
  EXPECT_DEATH(life.step(), "CHECK failed");  // the record's previous use was never applied
}

}  // namespace
}  // namespace kvrm
