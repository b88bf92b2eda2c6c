// Far history's control plane against the rule applied from scratch at every position.
#include "engines/history/far_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

namespace kvrm {
namespace {

using Positions = std::vector<std::uint32_t>;

// DESIGN 9 to the letter: the entries before a query at `position`, oldest first, each as the
// positions that it stands for.
std::vector<Positions> entries_from_scratch(const FarHistoryRule& rule, std::uint32_t position) {
  std::vector<Positions> entries;
  const std::int64_t block = rule.block_tokens;
  for (std::int64_t j = 0; (j + 1) * block <= std::int64_t{position} + 1 - rule.window_tokens;
       ++j) {
    if (j * block < rule.sink_tokens) continue;
    if (entries.size() == rule.summaries) {
      entries[1].insert(entries[1].begin(), entries[0].begin(), entries[0].end());
      entries.erase(entries.begin());
    }
    Positions positions(rule.block_tokens);
    std::iota(positions.begin(), positions.end(), static_cast<std::uint32_t>(j * block));
    entries.push_back(positions);
  }
  return entries;
}

// The contents of the places, as the updates leave them.
class Places {
 public:
  void apply(const FarChange& change, const FarHistoryRule& rule) {
    Positions& target = contents_[change.entry];
    if (change.kind == FarUpdateKind::merge) {
      Positions& source = contents_[change.source_entry];
      RC_ASSERT(change.entry != change.source_entry);
      RC_ASSERT(target.size() == change.count);
      RC_ASSERT(source.size() == change.source_count);
      target.insert(target.end(), source.begin(), source.end());
      source.clear();
      return;
    }
    RC_ASSERT(target.empty());
    RC_ASSERT(change.count == rule.block_tokens);
    for (std::uint32_t i = 0; i < change.count; ++i) {
      target.push_back(change.block * rule.block_tokens + i);
    }
  }
  const Positions& at(std::uint32_t entry) { return contents_[entry]; }

 private:
  std::map<std::uint32_t, Positions> contents_;
};

FarHistoryRule draw_rule() {
  FarHistoryRule rule{.enabled = true, .block_tokens = *rc::gen::inRange(1U, 9U)};
  rule.window_tokens = rule.block_tokens + *rc::gen::inRange(0U, 3 * rule.block_tokens);
  rule.sink_tokens = rule.block_tokens * *rc::gen::inRange(0U, 4U);
  rule.summaries = *rc::gen::inRange(2U, 7U);
  return rule;
}

// Positions until every entry has merged a few times.
std::uint32_t long_enough(const FarHistoryRule& rule) {
  return rule.sink_tokens + rule.window_tokens + 4 * (rule.summaries + 1) * rule.block_tokens;
}

void expect_entries(const FarHistory& history, Places& places,
                    const std::vector<Positions>& expected) {
  RC_ASSERT(history.entries() == expected.size());
  std::uint64_t total = 0;
  for (std::uint32_t age = 0; age < expected.size(); ++age) {
    const std::uint32_t entry = history.entry_by_age(age);
    RC_ASSERT(entry < history.entries());
    RC_ASSERT(places.at(entry) == expected[age]);
    RC_ASSERT(history.count(entry) == expected[age].size());
    RC_ASSERT(history.bias(entry) ==
              static_cast<float>(std::log(static_cast<double>(expected[age].size()))));
    total += expected[age].size();
  }
  RC_ASSERT(history.summarised_positions() == total);
}

RC_GTEST_PROP(FarHistoryProperty, UpdatesLeaveWhatTheRuleSaysAtEveryPosition, ()) {
  const FarHistoryRule rule = draw_rule();
  FarHistory history(rule);
  Places places;
  std::uint32_t merges = 0;
  std::uint32_t position = 0;
  while (position < long_enough(rule)) {
    const bool due = history.next_due() <= position;
    bool any = false;
    while (const std::optional<FarChange> change = history.advance(position)) {
      places.apply(*change, rule);
      merges += change->kind == FarUpdateKind::merge ? 1 : 0;
      any = true;
    }
    RC_ASSERT(any == due);
    expect_entries(history, places, entries_from_scratch(rule, position));
    // Mostly the next position, now and then a jump, as at the end of a prefill chunk.
    position += *rc::gen::weightedElement<std::uint32_t>({{9, 1}, {1, 2 * rule.block_tokens + 1}});
  }
  RC_ASSERT(merges > rule.summaries);
}

// What each virtual position is: a real position, or an entry, or nothing.
struct Virtual {
  enum class Kind { exact, entry, nothing } kind = Kind::nothing;
  std::uint32_t index = 0;
  bool operator==(const Virtual&) const = default;
};

std::vector<Virtual> expected_virtual(const FarHistoryRule& rule, std::uint32_t position,
                                      std::uint32_t tile) {
  const std::vector<Positions> entries = entries_from_scratch(rule, position);
  std::vector<Virtual> expected;
  std::uint32_t exact = 0;
  if (!entries.empty()) {
    for (; exact < rule.sink_tokens; ++exact) expected.push_back({Virtual::Kind::exact, exact});
    for (std::uint32_t entry = 0; entry < entries.size(); ++entry) {
      expected.push_back({Virtual::Kind::entry, entry});
      exact += static_cast<std::uint32_t>(entries[entry].size());
    }
    while (expected.size() % tile != 0 || expected.size() % rule.block_tokens != 0) {
      expected.push_back({});
    }
  }
  for (; exact <= position; ++exact) expected.push_back({Virtual::Kind::exact, exact});
  return expected;
}

// The same, read off the view block by block.
std::vector<Virtual> virtual_by_blocks(const FarView& view) {
  std::vector<Virtual> found;
  for (std::uint32_t at = 0; at < view.length; ++at) {
    const FarBlock block = far_block(view, at / view.block_tokens);
    const std::uint32_t index = block.index * view.block_tokens + at % view.block_tokens;
    const bool entry = block.kind == FarBlockKind::summary && index < view.span.entries;
    // Only the last summary block has places without an entry.
    RC_ASSERT(block.kind != FarBlockKind::summary ||
              block.index * view.block_tokens < view.span.entries);
    if (block.kind == FarBlockKind::history) {
      RC_ASSERT(view.virtual_position(index) == at);
      found.push_back({Virtual::Kind::exact, index});
    } else {
      found.push_back(entry ? Virtual{Virtual::Kind::entry, index} : Virtual{});
    }
  }
  return found;
}

RC_GTEST_PROP(FarHistoryProperty, ViewsLayOutSinksEntriesPaddingAndWindow, ()) {
  const FarHistoryRule rule = draw_rule();
  const std::uint32_t tile = rule.block_tokens * *rc::gen::element(1U, 2U, 4U);
  FarHistory history(rule);
  std::uint32_t padded = 0;
  std::uint32_t longest = 0;
  for (std::uint32_t position = 0; position < long_enough(rule); ++position) {
    while (history.advance(position)) {
    }
    const FarView view = history.view(position, tile);
    const std::vector<Virtual> expected = expected_virtual(rule, position, tile);
    RC_ASSERT(view.length == expected.size());
    RC_ASSERT(virtual_by_blocks(view) == expected);
    RC_ASSERT((view.span.entries == 0) == (history.summarised_blocks() == 0));
    RC_ASSERT(view.span.window % tile == 0U);
    RC_ASSERT(view.span.first + view.span.entries <= view.span.window);
    padded += view.span.window > view.span.first + view.span.entries ? 1 : 0;
    longest = std::max(longest, view.length);
    RC_ASSERT(far_length_max(rule, tile, position + 1) == longest);
  }
  RC_CLASSIFY(padded > 0, "padding");
}

// Blocks that hold something, counted at every position before and after its updates.
RC_GTEST_PROP(FarHistoryProperty, NeverNeedsMoreBlocksThanTheFormula, ()) {
  const FarHistoryRule rule = draw_rule();
  const std::uint32_t block = rule.block_tokens;
  const std::uint32_t ahead = *rc::gen::inRange(0U, 3 * block);
  FarHistory history(rule);
  std::uint32_t most = 0;
  for (std::uint32_t position = 0; position < long_enough(rule); ++position) {
    const auto blocks_now = [&] {
      const std::uint32_t written = (position + ahead) / block + 1;
      const std::uint32_t summaries = (history.entries() + block - 1) / block;
      return written - history.summarised_blocks() + summaries + (summaries > 0 ? 1 : 0);
    };
    most = std::max(most, blocks_now());
    while (history.advance(position)) {
    }
    most = std::max(most, blocks_now());
    RC_ASSERT(most <= far_blocks_needed(rule, position + ahead + 1, ahead).total());
  }
  // In the long run they are all needed at once.
  RC_ASSERT(most == far_blocks_needed(rule, long_enough(rule) + ahead, ahead).total());
}

TEST(FarHistory, WithoutOverflowOfTheWindowNothingHappens) {
  const FarHistoryRule rule{
      .enabled = true, .block_tokens = 16, .window_tokens = 32, .sink_tokens = 16, .summaries = 2};
  FarHistory history(rule);
  EXPECT_EQ(history.next_due(), 63U);
  EXPECT_FALSE(history.advance(62).has_value());
  const FarView view = history.view(62, 64);
  EXPECT_EQ(view.length, 63U);
  EXPECT_EQ(view.span.entries + view.span.first + view.span.window, 0U);
  EXPECT_EQ(far_blocks_needed(rule, 63, 0).total(), 4U);
}

// Two entries, by hand: the block of positions [16, 32), then [32, 48), then both merge.
TEST(FarHistory, TwoEntriesByHand) {
  const FarHistoryRule rule{
      .enabled = true, .block_tokens = 16, .window_tokens = 32, .sink_tokens = 16, .summaries = 2};
  FarHistory history(rule);
  EXPECT_EQ(history.advance(79), (FarChange{.entry = 0, .block = 1, .count = 16}));
  EXPECT_EQ(history.advance(79), (FarChange{.entry = 1, .block = 2, .count = 16}));
  EXPECT_FALSE(history.advance(79).has_value());
  EXPECT_EQ(history.advance(95), (FarChange{.kind = FarUpdateKind::merge,
                                            .entry = 0,
                                            .source_entry = 1,
                                            .count = 16,
                                            .source_count = 16}));
  EXPECT_EQ(history.advance(95), (FarChange{.entry = 1, .block = 3, .count = 16}));
  EXPECT_EQ(history.count(0), 32U);
  EXPECT_FLOAT_EQ(history.bias(0), std::log(32.0F));
  const FarView view = history.view(100, 64);
  EXPECT_EQ(view.span.first, 16U);
  EXPECT_EQ(view.span.entries, 2U);
  EXPECT_EQ(view.span.window, 64U);
  EXPECT_EQ(view.window_begin, 64U);
  EXPECT_EQ(view.length, 101U);
}

TEST(FarHistory, SlidesForEverInBoundedMemory) {
  const FarHistoryRule rule{
      .enabled = true, .block_tokens = 8, .window_tokens = 24, .sink_tokens = 8, .summaries = 5};
  constexpr std::uint32_t kPosition = 1U << 24;
  FarHistory history(rule);
  while (history.advance(kPosition)) {
  }
  EXPECT_EQ(history.entries(), 5U);
  std::uint64_t counts = 0;
  for (std::uint32_t entry = 0; entry < 5; ++entry) counts += history.count(entry);
  const std::uint64_t exact = kPosition + 1 - history.window_begin();
  EXPECT_EQ(counts + exact + rule.sink_tokens, kPosition + 1U);
  EXPECT_LE(exact, 24U + 8U - 1U);
  EXPECT_EQ(far_blocks_needed(rule, kPosition, 0).total(), 1U + 1U + 1U + 4U);
}

TEST(FarHistory, RecordsNamePlacesInThePool) {
  const std::vector<BlockIndex> summaries = {40, 7};
  const FarPlaces places{.summary_blocks = summaries, .radii_block = 9};
  const FarUpdate block = far_update_record({.entry = 17, .block = 3, .count = 16}, places, 5, 16);
  EXPECT_EQ(block.kind, FarUpdateKind::summarise);
  EXPECT_EQ(block.radii_block, 9U);
  EXPECT_EQ(block.entry, 17U);
  EXPECT_EQ(block.entry_slot, 7U * 16 + 1);
  EXPECT_EQ(block.source_slot, 5U * 16);
  EXPECT_EQ(block.count, 16U);
  const FarUpdate merge = far_update_record({.kind = FarUpdateKind::merge,
                                             .entry = 0,
                                             .source_entry = 18,
                                             .count = 32,
                                             .source_count = 16},
                                            places, 5, 16);
  EXPECT_EQ(merge.entry_slot, 40U * 16);
  EXPECT_EQ(merge.source_slot, 7U * 16 + 2);
  EXPECT_EQ(merge.source_entry, 18U);
  EXPECT_EQ(merge.count, 32U);
  EXPECT_EQ(merge.source_count, 16U);
}

TEST(FarHistory, OptionsThatCannotWorkAreRefusedWithTheNumbers) {
  const KvLayout layout{.dtype = DType::f16, .kv_heads = 1, .head_dim = 8, .block_tokens = 16};
  const FarHistoryRule good{
      .enabled = true, .block_tokens = 16, .window_tokens = 16, .sink_tokens = 32, .summaries = 64};
  EXPECT_TRUE(check_far_history(good, layout, "kvrm").has_value());
  const auto refused = [&](auto change) {
    FarHistoryRule rule = good;
    change(rule);
    const Status status = check_far_history(rule, layout, "kvrm");
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(refused([](FarHistoryRule& rule) { rule.sink_tokens = 24; }),
            "kvrm: far_history.sink_tokens is 24, must be a multiple of block_tokens, 16");
  EXPECT_EQ(refused([](FarHistoryRule& rule) { rule.window_tokens = 15; }),
            "kvrm: far_history.window_tokens is 15, must be at least block_tokens, 16");
  EXPECT_EQ(refused([](FarHistoryRule& rule) { rule.summaries = 1; }),
            "kvrm: far_history.summaries is 1, must be at least 2");
  EXPECT_EQ(refused([](FarHistoryRule& rule) { rule.block_tokens = 8; }),
            "kvrm: far_history.block_tokens is 8, must be the pool's, 16");
  EXPECT_EQ(refused([](FarHistoryRule& rule) { rule.summaries = 65; }),
            "kvrm: far_history.summaries is 65, must be at most 64: the radii of an entry take 8 "
            "bytes a head, and a block has 512 bytes a head");
}

}  // namespace
}  // namespace kvrm
