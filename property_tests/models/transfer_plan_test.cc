// The transfer planner against per-block references, and the incremental group table against the
// planner, over random block tables.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "engines/transport/group_planner.h"
#include "engines/transport/group_table.h"

namespace kvrm {
namespace {

// Block tables with runs, holes, descents and jumps; no block twice.
rc::Gen<std::vector<BlockIndex>> block_tables() {
  const auto jump = rc::gen::weightedOneOf<int>(
      {{6, rc::gen::just(1)}, {2, rc::gen::inRange(2, 6)}, {1, rc::gen::inRange(-40, 40)}});
  return rc::gen::map(
      rc::gen::container<std::vector<int>>(jump), [](const std::vector<int>& jumps) {
        std::vector<BlockIndex> table;
        std::map<BlockIndex, bool> used;
        std::int64_t at = 100;
        for (const int step : jumps) {
          at = at + step < 0 ? 5000 + static_cast<std::int64_t>(table.size()) : at + step;
          while (used[static_cast<BlockIndex>(at)]) ++at;
          used[static_cast<BlockIndex>(at)] = true;
          table.push_back(static_cast<BlockIndex>(at));
        }
        return table;
      });
}

MergePolicy draw_policy() {
  return {.max_gap_blocks = *rc::gen::element(0U, 0U, 1U, 3U, 10U),
          .max_group_blocks = *rc::gen::element(0U, 0U, 1U, 2U, 5U, 16U)};
}

RC_GTEST_PROP(TransferPlan, GroupsCoverEachBlockOnceAndAreTheFewestPossible, ()) {
  const auto table = *rc::gen::resize(300, block_tables());
  const MergePolicy policy = draw_policy();
  const std::vector<KvGroup> groups = plan_groups(table, policy);
  std::vector<std::pair<std::uint32_t, BlockIndex>> planned;  // (destination, source) by block
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const KvGroup& group = groups[i];
    RC_ASSERT(group.blocks > 0U);
    RC_ASSERT(policy.max_group_blocks == 0U || group.blocks <= policy.max_group_blocks);
    for (std::uint32_t b = 0; b < group.blocks; ++b) {
      planned.emplace_back(group.logical + b, group.physical + b);
    }
    if (i == 0) continue;
    const KvGroup& before = groups[i - 1];
    const bool adjacent = before.physical + before.blocks == group.physical;
    RC_ASSERT(!adjacent || before.blocks == policy.max_group_blocks);
  }
  std::vector<std::pair<std::uint32_t, BlockIndex>> expected;
  for (std::uint32_t b = 0; b < table.size(); ++b) expected.emplace_back(b, table[b]);
  RC_ASSERT(planned == expected);
}

RC_GTEST_PROP(TransferPlan, NeighbouringStreamsCouldNotMerge, ()) {
  const auto table = *rc::gen::resize(300, block_tables());
  const MergePolicy policy = draw_policy();
  const std::vector<BlockStream> streams = plan_streams(table, policy);
  if (policy.max_gap_blocks == 0) RC_ASSERT(streams.size() == plan_groups(table, policy).size());
  std::size_t block = 0;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const BlockStream& stream = streams[i];
    RC_ASSERT(policy.max_group_blocks == 0U ||
              stream.end - stream.first <= policy.max_group_blocks);
    RC_ASSERT(table[block] == stream.first);
    while (block < table.size() && table[block] < stream.end &&
           (table[block] == stream.first || table[block] > table[block - 1])) {
      ++block;
    }
    RC_ASSERT(table[block - 1] + 1 == stream.end);
    if (i == 0) continue;
    const BlockStream& before = streams[i - 1];
    const bool near =
        stream.first >= before.end && stream.first - before.end <= policy.max_gap_blocks;
    const bool room =
        policy.max_group_blocks == 0 || stream.end - before.first <= policy.max_group_blocks;
    // A stream takes one block at a time, so its neighbour's first block must not have fitted.
    const bool first_fits =
        policy.max_group_blocks == 0 || stream.first + 1 - before.first <= policy.max_group_blocks;
    RC_ASSERT(!(near && (room || first_fits)));
  }
  RC_ASSERT(block == table.size());
}

// The tables that a sequence of edits leaves behind.
struct EditedTables {
  std::map<std::pair<SlotIndex, std::uint32_t>,
           std::tuple<std::uint32_t, BlockIndex, std::uint32_t>>
      groups;
  std::map<std::pair<SlotIndex, std::uint32_t>, std::uint32_t> chunks;

  void apply(std::vector<TableEdit>& edits) {
    for (const TableEdit& edit : edits) {
      const std::pair key{edit.slot, edit.index};
      if (edit.table == StepTable::chunk_group) {
        chunks[key] = edit.logical;
      } else if (edit.blocks == 0) {
        groups.erase(key);
      } else {
        groups[key] = {edit.logical, edit.physical, edit.blocks};
      }
    }
    edits.clear();
  }
};

RC_GTEST_PROP(TransferPlan, TheGroupTableEqualsThePlanAfterEveryAppend, ()) {
  constexpr SlotIndex kSlot = 2;
  const auto table = *rc::gen::resize(300, block_tables());
  const MergePolicy policy = draw_policy();
  const auto block_tokens = *rc::gen::element(16U, 32U, 48U);
  const auto chunk_tokens = *rc::gen::element(16U, 64U, 80U);
  GroupTable incremental(
      {.slots = 3, .block_tokens = block_tokens, .chunk_tokens = chunk_tokens, .policy = policy});
  EditedTables edited;
  std::vector<TableEdit> edits;
  std::size_t done = 0;
  while (done < table.size()) {
    const auto count = *rc::gen::inRange<std::size_t>(1, 8);
    const auto piece = std::span(table).subspan(done, std::min(count, table.size() - done));
    incremental.append(kSlot, piece, edits);
    done += piece.size();
    edited.apply(edits);
    const auto prefix = std::span(table).first(done);
    const std::vector<KvGroup> groups = plan_groups(prefix, policy);
    RC_ASSERT(edited.groups.size() == groups.size());
    for (std::uint32_t i = 0; i < groups.size(); ++i) {
      const std::tuple expected{groups[i].logical, groups[i].physical, groups[i].blocks};
      RC_ASSERT((edited.groups[{kSlot, i}] == expected));
    }
    const auto chunks = plan_chunk_groups(groups, block_tokens, chunk_tokens);
    RC_ASSERT(edited.chunks.size() == chunks.size());
    for (std::uint32_t i = 0; i < chunks.size(); ++i) {
      RC_ASSERT((edited.chunks[{kSlot, i}] == chunks[i]));
    }
    RC_ASSERT(incremental.groups(kSlot) == groups.size());
    RC_ASSERT(incremental.streams(kSlot) == plan_streams(prefix, policy).size());
    RC_ASSERT(incremental.total_blocks() == done);
  }
  incremental.clear(kSlot, edits);
  edited.apply(edits);
  RC_ASSERT(edited.groups.empty());
  for (const auto& [key, value] : edited.chunks) RC_ASSERT(value == 0U);
}

}  // namespace
}  // namespace kvrm
