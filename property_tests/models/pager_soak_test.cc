// A hundred thousand steps of random traffic through the block pager alone, in a pool that is
// nearly full and with two steps in flight: its memory does not grow, its invariants hold, and at
// the end nothing is left. What each operation does is compared in block_pager_model_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engines/history/block_pager.h"
#include "harness/base/prng.h"
#include "property_tests/models/heap_account.h"

namespace kvrm {
namespace {

using soak::heap_bytes;
using soak::kSanitized;

constexpr std::uint64_t kSteps = kSanitized ? 10'000 : 100'000;
constexpr std::uint64_t kWarmUp = kSteps / 10;
constexpr std::uint32_t kBlocks = 400;
constexpr std::uint32_t kBlockTokens = 16;
constexpr std::uint32_t kHistories = 64;
constexpr std::uint32_t kHistoryBlocks = 24;
constexpr double kOccupancy = 0.945;  // histories begin while it is below

struct Counts {
  std::uint64_t opens = 0;
  std::uint64_t forks = 0;
  std::uint64_t closes = 0;
  std::uint64_t truncations = 0;
  std::uint64_t trims = 0;
  std::uint64_t too_long = 0;
  std::uint64_t exhausted = 0;
  std::uint64_t stale = 0;
  double occupancy_sum = 0;
};

class PagerTraffic {
 public:
  explicit PagerTraffic(Placement placement)
      : pager_({.blocks = kBlocks,
                .block_tokens = kBlockTokens,
                .max_histories = kHistories,
                .max_blocks_per_history = kHistoryBlocks,
                .placement = placement,
                .compacts = true}) {
    open_.reserve(kHistories);
  }

  void run(std::uint64_t steps) {
    for (std::uint64_t i = 0; i < steps; ++i) {
      while (begins()) {
      }
      counts_.occupancy_sum += occupancy();
      step();
      if (epoch_ % 1000 == 0) {
        ASSERT_EQ(pager_.check_invariants(), "") << "step " << epoch_;
      }
    }
  }
  void close_all() {
    while (!open_.empty()) close(open_.size() - 1);
    for (Epoch epoch = completed_ + 1; epoch <= epoch_; ++epoch) pager_.complete_step(epoch);
  }
  const BlockPager& pager() const { return pager_; }
  const Counts& counts() const { return counts_; }

 private:
  double occupancy() const { return static_cast<double>(pager_.live_blocks()) / kBlocks; }
  std::uint32_t below(std::uint64_t bound) {
    return static_cast<std::uint32_t>(random_.below(bound));
  }

  // One history more, a new one or a fork.
  bool begins() {
    if (occupancy() >= kOccupancy || open_.size() == kHistories) return false;
    if (!open_.empty() && below(4) == 0) return fork(open_[below(open_.size())]);
    const HistoryHandle history = *pager_.open();
    if (pager_.append(history, 1 + below(200)) != PagerOutcome::ok) {
      EXPECT_EQ(pager_.close(history), PagerOutcome::ok);
      return false;
    }
    open_.push_back(history);
    ++counts_.opens;
    return true;
  }

  bool fork(HistoryHandle from) {
    const std::uint32_t least = pager_.trimmed(from) * kBlockTokens;
    const std::uint32_t length = least + below(pager_.length(from) - least + 1);
    open_.push_back(*pager_.fork(from, length));
    ++counts_.forks;
    return true;
  }

  // The step before the last one completes once this one has begun.
  void step() {
    pager_.begin_step(++epoch_);
    pager_.clear_copies();
    for (std::size_t i = 0; i < open_.size();) i += grow(i) ? 1 : 0;
    if (below(2) == 0) shorten();
    pager_.compact(below(4));
    if (epoch_ > completed_ + 1) pager_.complete_step(++completed_);
  }

  // False: the history ended instead.
  bool grow(std::size_t i) {
    const PagerOutcome outcome = pager_.append(open_[i], 1);
    counts_.too_long += outcome == PagerOutcome::too_long ? 1 : 0;
    counts_.exhausted += outcome == PagerOutcome::out_of_blocks ? 1 : 0;
    if (outcome == PagerOutcome::ok && below(100) != 0) return true;
    close(i);
    return false;
  }

  void shorten() {
    if (open_.empty()) return;
    const HistoryHandle history = open_[below(open_.size())];
    const std::uint32_t trimmed = pager_.trimmed(history);
    const std::uint32_t full = pager_.length(history) / kBlockTokens - trimmed;
    if (below(2) == 0) {
      ++counts_.trims;
      EXPECT_EQ(pager_.trim_front(history, below(full + 1)), PagerOutcome::ok);
    } else {
      ++counts_.truncations;
      const std::uint32_t least = trimmed * kBlockTokens;
      const std::uint32_t kept = least + below(pager_.length(history) - least + 1);
      EXPECT_EQ(pager_.truncate(history, kept), PagerOutcome::ok);
    }
  }

  void close(std::size_t i) {
    const HistoryHandle history = open_[i];
    open_[i] = open_.back();
    open_.pop_back();
    ++counts_.closes;
    EXPECT_EQ(pager_.close(history), PagerOutcome::ok);
    if (below(16) != 0) return;
    ++counts_.stale;
    EXPECT_EQ(pager_.close(history), PagerOutcome::stale_handle);
  }

  BlockPager pager_;
  RandomStream random_{3, "pager soak"};
  std::vector<HistoryHandle> open_;
  Epoch epoch_ = 0;
  Epoch completed_ = 0;
  Counts counts_;
};

void expect_met_everything(const PagerTraffic& traffic) {
  constexpr std::uint64_t kMany = kSteps / 100;
  const Counts& counts = traffic.counts();
  EXPECT_GT(counts.opens, 10 * kMany);
  EXPECT_GT(counts.forks, kMany);
  EXPECT_GT(counts.closes, 10 * kMany);
  EXPECT_GT(counts.truncations, 10 * kMany);
  EXPECT_GT(counts.trims, 10 * kMany);
  EXPECT_GT(counts.too_long, kMany / 20);
  EXPECT_GT(counts.exhausted, kMany);
  EXPECT_GT(counts.stale, kMany);
  const PagerCounters pager = traffic.pager().counters();
  EXPECT_GT(pager.copy_on_writes, kMany);
  EXPECT_GT(pager.blocks_quarantined, 10 * kMany);
  EXPECT_GT(pager.compacted_blocks, kMany);
  const double occupancy = counts.occupancy_sum / static_cast<double>(kSteps);
  EXPECT_GE(occupancy, 0.94);
  EXPECT_LE(occupancy, 0.96);
}

class PagerSoak : public ::testing::TestWithParam<Placement> {};

TEST_P(PagerSoak, MemoryDoesNotGrowAndNothingIsLeft) {
  const std::size_t before = heap_bytes();
  {
    PagerTraffic traffic(GetParam());
    traffic.run(kWarmUp);
    const std::size_t warm = heap_bytes();
    const std::size_t bytes = traffic.pager().bytes();
    traffic.run(kSteps - kWarmUp);
    EXPECT_EQ(heap_bytes(), warm);
    EXPECT_EQ(traffic.pager().bytes(), bytes);
    expect_met_everything(traffic);
    traffic.close_all();
    const BlockPager& pager = traffic.pager();
    EXPECT_EQ(pager.free_blocks(), kBlocks);
    EXPECT_EQ(pager.quarantined_blocks(), 0U);
    EXPECT_EQ(pager.open_histories(), 0U);
    EXPECT_EQ(pager.live_tokens(), 0U);
    EXPECT_EQ(pager.counters().blocks_taken, pager.counters().blocks_given_back);
    EXPECT_EQ(pager.check_invariants(), "");
  }
  EXPECT_EQ(heap_bytes(), before);
}

std::string placement_name(const ::testing::TestParamInfo<Placement>& info) {
  constexpr const char* kNames[] = {"lifo", "address_ordered", "extent"};
  return kNames[static_cast<std::size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Placements, PagerSoak,
                         ::testing::Values(Placement::lifo, Placement::address_ordered,
                                           Placement::extent),
                         placement_name);

}  // namespace
}  // namespace kvrm
