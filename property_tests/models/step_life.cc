#include "property_tests/models/step_life.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <tuple>

#include "engines/descriptor/image_check.h"

namespace kvrm::models {

Life::Life(std::uint64_t seed, const StepLimits& limits, const MergePolicy& policy)
    : random_(seed, "life"),
      limits_(limits),
      policy_(policy),
      groups_({.slots = limits.shape.slots,
               .max_blocks = limits.shape.max_blocks,
               .block_tokens = limits.block_tokens,
               .chunk_tokens = kChunkTokens,
               .policy = policy}),
      commits(limits),
      slots(limits.shape.slots) {}

bool Life::may_advance(const SlotTruth& truth) const {
  return truth.position + 1 < limits_.max_position && truth.length < limits_.max_length &&
         truth.write_slot % limits_.block_tokens != limits_.block_tokens - 1;
}

CommitResult Life::step() {
  for (TokenId& token : commits.sampled) {
    token = limits_.vocabulary > 0 ? draw(limits_.vocabulary) : kNoToken;
  }
  lists = {};
  const bool advance = !one_in(4);
  if (advance && one_in(2)) commits.builder.advance();
  std::vector<SlotIndex> order(slots.size());
  std::iota(order.begin(), order.end(), 0U);
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[draw(static_cast<std::uint32_t>(i))]);
  }
  const std::uint64_t kept_before = counts.kept_rows;
  for (const SlotIndex slot : order) act(slot, advance);
  if (one_in(4)) draw_block_copies();
  if (one_in(3)) draw_stage_copies();
  if (one_in(4)) draw_far_updates();
  if (advance) commits.builder.advance();  // once more where it was given: it is a flag
  const CommitResult commit = commits.builder.commit(commits.channel);
  count_commit(commit, advance, counts.kept_rows - kept_before);
  return commit;
}

void Life::count_commit(const CommitResult& commit, bool advance, std::uint64_t kept) {
  ++counts.operations;
  if (commit.kind == CommitKind::edits) {
    ++counts.commits_of_edits;
    return;
  }
  ++counts.full_commits;
  counts.full_with_advance += advance ? 1 : 0;
  counts.kept_in_full += kept;
}

std::vector<std::byte> Life::shadow() const {
  std::vector<TokenId> consumed;
  for (const SlotTruth& slot : slots) consumed.push_back(slot.token);
  return resolved_image(commits.builder.shadow(), limits_.shape, consumed);
}

// What one slot does in a step; where nothing edits it, it advances or stays.
void Life::act(SlotIndex slot, bool advance) {
  SlotTruth& truth = slots[slot];
  edited_ = false;
  ++counts.operations;
  if (one_in(8)) change_tables(slot);
  if (one_in(10)) edit_bias(slot);
  if (truth.active && one_in(12)) {
    deactivate(slot);
    if (one_in(2)) activate(slot);  // another request, in the same step
  } else if (!truth.active ? one_in(3) : one_in(10)) {
    activate(slot);
  } else if (truth.active && advance && !may_advance(truth)) {
    cross_border(slot);
  }
  if (!truth.active || edited_) return;
  counts.far_rows += truth.far.window > 0 ? 1 : 0;
  if (!advance) {
    ++counts.kept_rows;
    return;
  }
  ++truth.position;
  ++truth.length;
  ++truth.write_slot;
  truth.token = limits_.vocabulary > 0 ? commits.sampled[slot] : kNoToken;
  ++counts.advanced_rows;
}

// Blocks that go on with these, mostly in runs.
std::vector<BlockIndex> Life::draw_blocks(const std::vector<BlockIndex>& behind,
                                          std::uint32_t count) {
  std::vector<BlockIndex> blocks;
  BlockIndex last = behind.empty() ? draw(limits_.pool_blocks) : behind.back();
  for (std::uint32_t i = 0; i < count; ++i) {
    last = one_in(3) ? draw(limits_.pool_blocks) : (last + 1) % limits_.pool_blocks;
    blocks.push_back(last);
  }
  return blocks;
}

// Appends, or replaces what is behind some first blocks: trimming, copy on write, compaction, or
// the end of the history.
void Life::change_tables(SlotIndex slot) {
  std::vector<BlockIndex>& table = slots[slot].table;
  const auto held = static_cast<std::uint32_t>(table.size());
  ++counts.operations;
  edits_.clear();
  if (one_in(2)) {
    const auto added = draw_blocks(table, draw(limits_.shape.max_blocks - held + 1));
    table.insert(table.end(), added.begin(), added.end());
    groups_.append(slot, added, edits_);
  } else if (one_in(3)) {
    table.clear();
    groups_.clear(slot, edits_);
  } else {
    const std::uint32_t unchanged = draw(held + 1);
    table.resize(unchanged);
    const auto added = draw_blocks(table, draw(limits_.shape.max_blocks - unchanged + 1));
    table.insert(table.end(), added.begin(), added.end());
    groups_.replace(slot, table, unchanged, edits_);
    ++counts.replaced_tables;
  }
  commits.builder.edit_tables(edits_);
}

void Life::draw_place(SlotTruth& truth) {
  truth.far = {};
  if (one_in(3)) {
    truth.far.first = limits_.block_tokens * draw(3);
    truth.far.entries = draw(limits_.shape.max_blocks);
    const std::uint32_t end = truth.far.first + truth.far.entries;
    truth.far.window = (end / limits_.tile_tokens + 1 + draw(2)) * limits_.tile_tokens;
    truth.length = truth.far.window + 1 + draw(limits_.max_length - truth.far.window);
    truth.position = draw(limits_.max_position);
  } else {
    truth.length = 1 + draw(limits_.max_length);
    truth.position = truth.length - 1;
  }
  truth.write_slot = draw(limits_.pool_blocks * limits_.block_tokens);
  truth.content_key = random_.next();
}

void Life::edit(SlotIndex slot) {
  SlotTruth& truth = slots[slot];
  const bool sampled = limits_.vocabulary > 0 && !one_in(3);
  const TokenId given = limits_.vocabulary > 0 ? draw(limits_.vocabulary) : kNoToken;
  truth.active = true;
  truth.token = sampled ? commits.sampled[slot] : given;
  SlotEdit edit{.slot = slot,
                .flags = kSlotActive | (sampled ? 0U : std::uint32_t{kTokenGiven}),
                .token = sampled ? kNoToken : given,
                .position = truth.position,
                .length = truth.length,
                .far = truth.far,
                .write_slot = truth.write_slot,
                .content_key = truth.content_key};
  if (one_in(6)) {  // planned ahead, and then it came otherwise
    SlotEdit ahead = edit;
    ahead.content_key ^= 1;
    commits.builder.edit_slot(one_in(2) ? ahead : inactive_slot(slot));
    ++counts.replaced_edits;
  }
  commits.builder.edit_slot(edit);
  edited_ = true;
}

void Life::activate(SlotIndex slot) {
  ++counts.entries;
  draw_place(slots[slot]);
  edit(slot);
}

// As an engine's: the next position lies in another block.
void Life::cross_border(SlotIndex slot) {
  SlotTruth& truth = slots[slot];
  ++counts.border_crossings;
  if (truth.length == limits_.max_length || truth.position + 1 == limits_.max_position) {
    return activate(slot);
  }
  ++truth.position;
  ++truth.length;
  truth.write_slot = std::uint64_t{draw(limits_.pool_blocks)} * limits_.block_tokens;
  edit(slot);
}

void Life::deactivate(SlotIndex slot) {
  ++counts.departures;
  SlotTruth& truth = slots[slot];
  truth.active = false;
  truth.token = kNoToken;
  commits.builder.edit_slot(inactive_slot(slot));
  edited_ = true;
}

void Life::edit_bias(SlotIndex slot) {
  edits_.clear();
  std::uint32_t entry = draw(limits_.shape.max_blocks);
  const std::uint32_t end = std::min(limits_.shape.max_blocks, entry + 1 + draw(5));
  for (; entry < end; ++entry) {
    const float bias = std::log(1.0F + static_cast<float>(draw(100)));
    slots[slot].bias[entry] = bias;
    edits_.set_value(slot, StepTable::far_bias, entry, std::bit_cast<std::uint32_t>(bias));
    ++counts.bias_edits;
  }
  commits.builder.edit_tables(edits_);
}

// Of disjoint blocks, in random order.
void Life::draw_block_copies() {
  std::vector<BlockIndex> starts(limits_.pool_blocks / 4);
  for (std::uint32_t i = 0; i < starts.size(); ++i) starts[i] = 4 * i;
  for (std::size_t i = starts.size(); i > 1; --i) {
    std::swap(starts[i - 1], starts[draw(static_cast<std::uint32_t>(i))]);
  }
  const std::uint32_t copies = 1 + draw(limits_.shape.max_block_copies());
  for (std::uint32_t i = 0; i < copies; ++i) {
    const BlockCopy copy{.source = starts[2 * i % starts.size()],
                         .destination = starts[2 * i + 1],
                         .blocks = 1 + draw(4)};
    commits.builder.copy_blocks(copy);
    lists.block_copies.push_back(copy);
  }
  counts.operations += copies;
  counts.block_copies += copies;
  std::ranges::sort(lists.block_copies, {}, &BlockCopy::destination);
}

void Life::draw_stage_copies() {
  for (SlotIndex slot = limits_.shape.slots; slot-- > 0;) {
    std::vector<StageCopy> copies;
    for (std::uint32_t logical = draw(8); logical < limits_.shape.max_blocks && one_in(2);) {
      const std::uint32_t blocks = 1 + draw(limits_.shape.max_blocks - logical);
      copies.push_back({slot, logical, draw(limits_.pool_blocks - blocks + 1), blocks});
      logical += blocks;
    }
    commits.builder.stage(copies);
    counts.operations += copies.size();
    counts.stage_copies += copies.size();
    lists.stage_copies.insert(lists.stage_copies.end(), copies.begin(), copies.end());
    lists.stage_all |= lists.stage_copies.size() > limits_.shape.max_stage_copies;
    if (one_in(8)) {  // what was planned ahead is void
      commits.builder.drop_staging(slot);
      std::erase_if(lists.stage_copies, [&](const StageCopy& copy) { return copy.slot == slot; });
      counts.dropped_staging += copies.empty() ? 0 : 1;
    }
    if (lists.stage_all) lists.stage_copies.clear();
  }
  counts.stage_all += lists.stage_all ? 1 : 0;
  std::ranges::sort(lists.stage_copies, [](const StageCopy& a, const StageCopy& b) {
    return std::tie(a.slot, a.logical) < std::tie(b.slot, b.logical);
  });
}

void Life::draw_far_updates() {
  const std::uint32_t positions = limits_.pool_blocks * limits_.block_tokens;
  const std::uint32_t updates = 1 + draw(limits_.shape.max_far_updates());
  for (std::uint32_t i = 0; i < updates; ++i) {
    FarUpdate update{.radii_block = draw(limits_.pool_blocks),
                     .entry = draw(limits_.shape.max_blocks),
                     .entry_slot = draw(positions),
                     .source_slot = std::uint64_t{draw(limits_.pool_blocks)} * limits_.block_tokens,
                     .count = 1 + draw(limits_.block_tokens)};
    if (one_in(2)) {
      update.kind = FarUpdateKind::merge;
      update.source_entry = (update.entry + 1) % limits_.shape.max_blocks;
      update.source_slot = (update.entry_slot + 1) % positions;
      update.source_count = 1 + draw(100);
    }
    commits.builder.update_far(update);
    lists.far_updates.push_back(update);
  }
  counts.operations += updates;
  counts.far_updates += updates;
}

}  // namespace kvrm::models
