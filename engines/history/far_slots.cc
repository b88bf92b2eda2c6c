#include "engines/history/far_slots.h"

#include <algorithm>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"

namespace kvrm {

std::uint64_t FarChanges::count(FarUpdateKind kind) const {
  return static_cast<std::uint64_t>(std::ranges::count(updates, kind, &FarUpdate::kind));
}

FarSlots::FarSlots(const FarHistoryRule& rule, std::uint32_t tile_tokens, std::uint32_t slots,
                   BlockPager& pager)
    : rule_(rule), tile_tokens_(tile_tokens), pager_(pager), slots_(slots) {}

// Entries in use once the queries at the first `positions` positions have been answered.
std::uint32_t FarSlots::entries_at(std::uint32_t positions) const {
  const std::uint32_t kept = rule_.sink_tokens + rule_.window_tokens;
  const std::uint32_t blocks = positions > kept ? (positions - kept) / rule_.block_tokens : 0;
  return std::min(blocks, rule_.summaries);
}

std::uint32_t FarSlots::blocks_to_open(std::uint32_t positions) const {
  const FarBlockNeeds needs = far_blocks_needed(rule_, positions, 0);
  const std::uint32_t entries = entries_at(positions);
  return needs.sinks + needs.window + (entries > 0 ? 1U : 0U) +
         static_cast<std::uint32_t>(divide_up(entries, rule_.block_tokens));
}

void FarSlots::open(SlotIndex index, std::uint32_t positions) {
  Slot& slot = slots_[index];
  KVRM_CHECK(!slot.far);
  slot.far.emplace(rule_);
  slot.sinks = *pager_.open();
  slot.summaries = *pager_.open();
  slot.radii = *pager_.open();
  slot.window = *pager_.open();
  const auto append = [&](HistoryHandle history, std::uint32_t count) {
    KVRM_CHECK(pager_.append(history, count) == PagerOutcome::ok);
  };
  const std::uint32_t sinks = std::min(positions, rule_.sink_tokens);
  append(slot.sinks, sinks);
  const std::uint64_t window_room =
      std::uint64_t{far_blocks_needed(rule_, positions, 0).window} * rule_.block_tokens;
  append(slot.window,
         static_cast<std::uint32_t>(std::min<std::uint64_t>(positions - sinks, window_room)));
  const std::uint32_t entries = entries_at(positions);
  append(slot.summaries, entries);
  append(slot.radii, entries > 0 ? rule_.block_tokens : 0);
  slot.positions = positions;
  slot.table.clear();
  ++slot.version;
}

void FarSlots::close(SlotIndex index) {
  Slot& slot = slots_[index];
  if (!slot.far) return;
  for (const HistoryHandle history : {slot.sinks, slot.summaries, slot.radii, slot.window}) {
    KVRM_CHECK(pager_.close(history) == PagerOutcome::ok);
  }
  slot.far.reset();
  slot.table.clear();
  slot.positions = 0;
}

bool FarSlots::extend(SlotIndex index) {
  Slot& slot = slots_[index];
  KVRM_CHECK(slot.far.has_value());
  const std::uint32_t entries = pager_.length(slot.summaries);
  const std::uint32_t radii = pager_.length(slot.radii);
  if (append_all(slot)) {
    ++slot.positions;
    return true;
  }
  const std::uint32_t kept =
      KVRM_MUTATE(far_failed_extend_keeps_entry, entries, pager_.length(slot.summaries));
  KVRM_CHECK(pager_.truncate(slot.summaries, kept) == PagerOutcome::ok);
  KVRM_CHECK(pager_.truncate(slot.radii, radii) == PagerOutcome::ok);
  return false;
}

// The next position, after the entry that its query may make due.
bool FarSlots::append_all(Slot& slot) {
  const auto append = [&](HistoryHandle history, std::uint32_t count) {
    return count == 0 || pager_.append(history, count) == PagerOutcome::ok;
  };
  const std::uint32_t entries = entries_at(slot.positions + 1);
  const std::uint32_t had = pager_.length(slot.summaries);
  const bool first = entries > 0 && pager_.length(slot.radii) == 0;
  const HistoryHandle exact = slot.positions < rule_.sink_tokens ? slot.sinks : slot.window;
  return append(slot.radii, first ? rule_.block_tokens : 0) &&
         append(slot.summaries, entries > had ? entries - had : 0) && append(exact, 1);
}

void FarSlots::advance(SlotIndex index, std::uint32_t position, std::uint32_t last,
                       FarChanges& changes) {
  Slot& slot = slots_[index];
  const std::size_t first = changes.updates.size();
  while (const std::optional<FarChange> change = slot.far->advance(position)) {
    changes.updates.push_back(record(slot, *change));
    if (change->kind == FarUpdateKind::summarise) {
      KVRM_CHECK(pager_.trim_front(slot.window, 1) == PagerOutcome::ok);
    }
  }
  for (std::size_t i = first; i < changes.updates.size(); ++i) {
    const std::uint32_t entry = changes.updates[i].entry;
    changes.biases.push_back({index, entry, slot.far->bias(entry)});
  }
  if (last >= rule_.sink_tokens && pager_.length(slot.window) <= last - rule_.sink_tokens) {
    const std::uint32_t missing = last - rule_.sink_tokens + 1 - pager_.length(slot.window);
    KVRM_CHECK(pager_.append(slot.window, missing) == PagerOutcome::ok);
  }
  rebuild_table(slot, last);
}

void FarSlots::list_biases(SlotIndex slot, std::vector<FarBias>& biases) const {
  const FarHistory& far = *slots_[slot].far;
  for (std::uint32_t entry = 0; entry < far.entries(); ++entry) {
    biases.push_back({slot, entry, far.bias(entry)});
  }
}

FarUpdate FarSlots::record(const Slot& slot, const FarChange& change) const {
  const FarPlaces places{.summary_blocks = pager_.table(slot.summaries),
                         .radii_block = pager_.table(slot.radii)[0]};
  BlockIndex source = 0;
  if (change.kind == FarUpdateKind::summarise) {
    source = physical(slot, {.kind = FarBlockKind::history, .index = change.block});
  }
  return far_update_record(change, places, source, rule_.block_tokens);
}

BlockIndex FarSlots::physical(const Slot& slot, const FarBlock& block) const {
  const std::uint32_t sinks = rule_.sink_tokens / rule_.block_tokens;
  switch (block.kind) {
    case FarBlockKind::history:
      if (block.index < sinks) return pager_.table(slot.sinks)[block.index];
      return pager_.table(
          slot.window)[block.index - sinks -
                       KVRM_MUTATE(far_source_before_trim, pager_.trimmed(slot.window), 0U)];
    case FarBlockKind::summary:
      return pager_.table(slot.summaries)[block.index];
    case FarBlockKind::padding:
      break;
  }
  return pager_.table(slot.window)[0];
}

std::uint64_t FarSlots::write_slot(SlotIndex index, std::uint32_t position) const {
  const FarBlock block{.kind = FarBlockKind::history, .index = position / rule_.block_tokens};
  return std::uint64_t{physical(slots_[index], block)} * rule_.block_tokens +
         position % rule_.block_tokens;
}

FarSlots::TableSource FarSlots::table_source(const Slot& slot, std::uint32_t last) const {
  return {.sinks = pager_.table(slot.sinks).size(),
          .summaries = pager_.table(slot.summaries).size(),
          .trimmed = pager_.trimmed(slot.window),
          .last_block = last / rule_.block_tokens,
          .pager_versions = pager_.version(slot.sinks) + pager_.version(slot.summaries) +
                            pager_.version(slot.window)};
}

// Growth alone leaves the version as it is.
void FarSlots::rebuild_table(Slot& slot, std::uint32_t last) {
  const TableSource source = table_source(slot, last);
  if (source == slot.source && !slot.table.empty()) return;
  slot.source = source;
  const FarView view = slot.far->view(last, tile_tokens_);
  const auto blocks = static_cast<std::uint32_t>(divide_up(view.length, rule_.block_tokens));
  scratch_.clear();
  for (std::uint32_t i = 0; i < blocks; ++i) scratch_.push_back(physical(slot, far_block(view, i)));
  const auto old_end = slot.table.begin() +
                       static_cast<std::ptrdiff_t>(std::min(slot.table.size(), scratch_.size()));
  const bool grown = slot.table.size() <= scratch_.size() &&
                     std::equal(slot.table.begin(), old_end, scratch_.begin());
  if (!grown) ++slot.version;
  slot.table.assign(scratch_.begin(), scratch_.end());
}

std::uint32_t FarSlots::run_count(SlotIndex slot) const {
  const std::vector<BlockIndex>& table = slots_[slot].table;
  std::uint32_t runs = 0;
  for (std::size_t i = 0; i < table.size(); ++i) {
    runs += i == 0 || table[i] != table[i - 1] + 1 ? 1 : 0;
  }
  return runs;
}

std::size_t FarSlots::bytes() const {
  std::size_t bytes = slots_.size() * sizeof(Slot);
  for (const Slot& slot : slots_) bytes += slot.table.capacity() * sizeof(BlockIndex);
  return bytes;
}

}  // namespace kvrm
