// Delta staging of histories small enough to read; random ones are in property_tests/models.
#include "engines/transport/stage_tracker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace kvrm {
namespace {

struct Copy {  // logical, physical, blocks
  std::uint32_t logical, physical, blocks;
  bool operator==(const Copy&) const = default;
};

class StageTrackerTest : public ::testing::Test {
 protected:
  std::vector<Copy> plan(const std::vector<BlockIndex>& table, std::uint32_t written,
                         std::uint32_t unchanged = 0) {
    std::vector<StageCopy> copies;
    std::vector<std::uint32_t> generations;
    for (const BlockIndex block : table) generations.push_back(generations_[block]);
    tracker_.plan(1, {table, generations, written, unchanged}, copies);
    std::vector<Copy> result;
    for (const StageCopy& copy : copies) {
      EXPECT_EQ(copy.slot, 1U);
      result.push_back({copy.logical, copy.physical, copy.blocks});
    }
    return result;
  }

  StageTracker tracker_{{.slots = 2, .max_blocks = 8, .block_tokens = 16, .max_group_blocks = 3}};
  std::vector<std::uint32_t> generations_ =  // by block
      std::vector<std::uint32_t>(32);
};

using ::testing::ElementsAre;

TEST_F(StageTrackerTest, CopiesWhatIsWrittenOnceAndCutsAtTheCap) {
  EXPECT_THAT(plan({4, 5, 6, 7, 20, 9}, 70),
              ElementsAre(Copy{0, 4, 3}, Copy{3, 7, 1}, Copy{4, 20, 1}));
  EXPECT_THAT(plan({4, 5, 6, 7, 20, 9}, 71), ElementsAre());
  // The block that only the step's own token enters is never copied, neither now nor later.
  EXPECT_THAT(plan({4, 5, 6, 7, 20, 9}, 81), ElementsAre());
}

TEST_F(StageTrackerTest, CopiesWhatChangedItsBlockOrItsGeneration) {
  plan({4, 5, 6}, 48);
  EXPECT_THAT(plan({4, 11, 6}, 48), ElementsAre(Copy{1, 11, 1}));
  ++generations_[4];
  EXPECT_THAT(plan({4, 11, 6}, 48), ElementsAre(Copy{0, 4, 1}));
  // A history that became shorter leaves nothing behind that a longer one could take for its own.
  plan({4, 11}, 32);
  EXPECT_THAT(plan({4, 11, 6}, 48, 2), ElementsAre(Copy{2, 6, 1}));
  tracker_.forget(1);
  EXPECT_THAT(plan({4, 11, 6}, 33), ElementsAre(Copy{0, 4, 1}, Copy{1, 11, 1}, Copy{2, 6, 1}));
}

}  // namespace
}  // namespace kvrm
