#include "engines/history/far_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/base/check.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kRadiiBytes = 2 * sizeof(float);  // of one entry, a head

std::uint32_t divide_up(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }
std::uint32_t round_up(std::uint32_t a, std::uint32_t b) { return divide_up(a, b) * b; }

std::uint32_t sink_blocks(const FarHistoryRule& rule) {
  return rule.sink_tokens / rule.block_tokens;
}

// Blocks that have become entries before a query at `position`.
std::uint32_t blocks_due(const FarHistoryRule& rule, std::uint32_t position) {
  if (position + 1 < rule.window_tokens) return 0;
  const std::uint32_t left = (position + 1 - rule.window_tokens) / rule.block_tokens;
  return left - std::min(left, sink_blocks(rule));
}

FarView view_with(const FarHistoryRule& rule, std::uint32_t blocks, std::uint32_t position,
                  std::uint32_t tile_tokens) {
  FarView view{.length = position + 1, .block_tokens = rule.block_tokens};
  if (blocks == 0) return view;
  view.span.first = rule.sink_tokens;
  view.span.entries = std::min(blocks, rule.summaries);
  view.span.window =
      round_up(view.span.first + view.span.entries,
               std::max(rule.block_tokens, KVRM_MUTATE(far_window_ignores_tiles, tile_tokens, 0U)));
  view.window_begin = rule.sink_tokens + blocks * rule.block_tokens;
  view.length = view.span.window + (position + 1 - view.window_begin);
  return view;
}

}  // namespace

Status check_far_history(const FarHistoryRule& rule, const KvLayout& layout,
                         std::string_view label) {
  const std::uint32_t block = layout.block_tokens;
  const auto refuse = [&](std::string_view option, std::uint32_t value, const std::string& must) {
    return bad_input(
        fmt::format("{}: far_history.{} is {}, must be {}", label, option, value, must));
  };
  if (rule.block_tokens != block) {
    return refuse("block_tokens", rule.block_tokens, fmt::format("the pool's, {}", block));
  }
  if (rule.sink_tokens % block != 0) {
    return refuse("sink_tokens", rule.sink_tokens,
                  fmt::format("a multiple of block_tokens, {}", block));
  }
  if (rule.window_tokens < block) {
    return refuse("window_tokens", rule.window_tokens,
                  fmt::format("at least block_tokens, {}", block));
  }
  if (rule.summaries < 2) return refuse("summaries", rule.summaries, "at least 2");
  const std::uint64_t most = layout.head_bytes() / kRadiiBytes;
  if (rule.summaries > most) {
    return refuse("summaries", rule.summaries,
                  fmt::format("at most {}: the radii of an entry take {} bytes a head, and a block "
                              "has {} bytes a head",
                              most, kRadiiBytes, layout.head_bytes()));
  }
  return {};
}

std::uint32_t FarView::virtual_position(std::uint32_t position) const {
  if (span.entries == 0 || position < span.first) return position;
  KVRM_CHECK_LE(window_begin, position);
  return span.window + (position - window_begin);
}

FarBlock far_block(const FarView& view, std::uint32_t virtual_block) {
  const std::uint32_t first = view.span.first / view.block_tokens;
  const std::uint32_t window = view.span.window / view.block_tokens;
  if (view.span.entries == 0 || virtual_block < first) {
    return {FarBlockKind::history, virtual_block};
  }
  if (virtual_block >= window) {
    return {FarBlockKind::history, view.window_begin / view.block_tokens + virtual_block - window};
  }
  const std::uint32_t number = virtual_block - first;
  if (number * view.block_tokens < view.span.entries) return {FarBlockKind::summary, number};
  return {FarBlockKind::padding, 0};
}

FarHistory::FarHistory(const FarHistoryRule& rule) : rule_(rule) {
  KVRM_CHECK(rule.enabled);
  KVRM_CHECK_LT(0U, rule.block_tokens);
  KVRM_CHECK_EQ(rule.sink_tokens % rule.block_tokens, 0U);
  KVRM_CHECK_LE(rule.block_tokens, rule.window_tokens);
  KVRM_CHECK_LE(2U, rule.summaries);
}

std::uint32_t FarHistory::next_due() const {
  return (next_block() + 1) * rule_.block_tokens + rule_.window_tokens -
         KVRM_MUTATE(far_window_one_short, 1U, 2U);
}

std::optional<FarChange> FarHistory::advance(std::uint32_t position) {
  if (position < next_due()) return std::nullopt;
  const std::uint32_t block = rule_.block_tokens;
  const bool full = blocks_ >= rule_.summaries;
  // The place behind the oldest entry in the ring: the next to merge, and then to be used again.
  const std::uint32_t place = full ? entry_by_age(1) : blocks_;
  if (full && !entry_is_free_) {
    entry_is_free_ = true;
    return FarChange{
        .kind = FarUpdateKind::merge,
        .entry = 0,
        .source_entry = place,
        .count = (blocks_ - rule_.summaries + KVRM_MUTATE(far_merge_count_lags, 1U, 0U)) * block,
        .source_count = block};
  }
  const FarChange change{.entry = place, .block = next_block(), .count = block};
  ++blocks_;
  entry_is_free_ = false;
  return change;
}

std::uint32_t FarHistory::entries() const { return std::min(blocks_, rule_.summaries); }

std::uint32_t FarHistory::entry_by_age(std::uint32_t age) const {
  KVRM_CHECK_LT(age, entries());
  if (age == 0 || blocks_ <= rule_.summaries) return age;
  return 1 + (blocks_ - rule_.summaries + age - 1) %
                 (rule_.summaries - KVRM_MUTATE(far_ring_one_longer, 1U, 0U));
}

std::uint32_t FarHistory::count(std::uint32_t entry) const {
  KVRM_CHECK(!entry_is_free_);
  KVRM_CHECK_LT(entry, entries());
  const std::uint32_t merged = blocks_ - entries() + 1;
  return (entry == 0 ? KVRM_MUTATE(far_merged_entry_weighs_one_block, merged, 1U) : 1U) *
         rule_.block_tokens;
}

float FarHistory::bias(std::uint32_t entry) const {
  return static_cast<float>(std::log(static_cast<double>(count(entry))));
}

std::uint32_t FarHistory::window_begin() const {
  return blocks_ == 0 ? 0 : next_block() * rule_.block_tokens;
}

FarView FarHistory::view(std::uint32_t position, std::uint32_t tile_tokens) const {
  KVRM_CHECK_LT(position, next_due());
  KVRM_CHECK_LE(window_begin(), position);
  return view_with(rule_, blocks_, position, tile_tokens);
}

FarUpdate far_update_record(const FarChange& change, const FarPlaces& places,
                            BlockIndex source_block, std::uint32_t block_tokens) {
  const auto slot_of = [&](std::uint32_t entry) {
    const std::uint64_t block = places.summary_blocks[entry / block_tokens];
    return block * block_tokens + entry % block_tokens;
  };
  const bool merges = change.kind == FarUpdateKind::merge;
  return {.kind = change.kind,
          .radii_block = places.radii_block,
          .entry = change.entry,
          .source_entry = change.source_entry,
          .entry_slot = slot_of(change.entry),
          .source_slot =
              merges ? slot_of(change.source_entry) : std::uint64_t{source_block} * block_tokens,
          .count = change.count,
          .source_count = change.source_count};
}

FarBlockNeeds far_blocks_needed(const FarHistoryRule& rule, std::uint32_t positions,
                                std::uint32_t ahead) {
  const std::uint32_t all = divide_up(positions, rule.block_tokens);
  const std::uint32_t sinks = std::min(sink_blocks(rule), all);
  const std::uint32_t due = positions == 0 ? 0 : blocks_due(rule, positions - 1);
  if (due == 0) return {.sinks = sinks, .window = all - sinks};
  const std::uint32_t window = divide_up(rule.window_tokens + ahead, rule.block_tokens) +
                               KVRM_MUTATE(far_needs_one_block_less, 1U, 0U);
  return {.sinks = sinks,
          .summaries = divide_up(std::min(due, rule.summaries), rule.block_tokens),
          .radii = 1,
          .window = std::min(window, all - sinks)};
}

// Within one number of summarised blocks the length grows with the position, and its end grows with
// that number: the last query and the last one before its number count.
std::uint32_t far_length_max(const FarHistoryRule& rule, std::uint32_t tile_tokens,
                             std::uint32_t positions) {
  KVRM_CHECK_LT(0U, positions);
  const std::uint32_t last = positions - 1;
  const std::uint32_t blocks = blocks_due(rule, last);
  const std::uint32_t length = view_with(rule, blocks, last, tile_tokens).length;
  if (blocks == 0) return length;
  const std::uint32_t before =
      (sink_blocks(rule) + blocks) * rule.block_tokens + rule.window_tokens - 2;
  return KVRM_MUTATE(far_longest_view_is_last,
                     std::max(length, view_with(rule, blocks - 1, before, tile_tokens).length),
                     length);
}

}  // namespace kvrm
