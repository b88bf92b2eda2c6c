// The transfer planner against per-block references, and the incremental group table against the
// planner, over random block tables.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "engines/descriptor/record_view.h"
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

// The tables of one slot that a sequence of edits leaves behind.
struct EditedTables {
  using Group = std::tuple<std::uint32_t, BlockIndex, std::uint32_t>;
  std::map<std::uint32_t, Group> groups;
  std::map<std::uint32_t, std::uint32_t> chunks;
  std::size_t entries = 0;  // edited by the last apply()
  std::size_t in_vain = 0;  // of them, as they were

  void apply(TableEdits& edits) {
    entries = 0;
    in_vain = 0;
    const bool whole =
        for_each_table_edit(edits.words(), [&](const TableEdit& edit, const std::uint64_t* values) {
          std::uint32_t logical = edit.logical;
          for (std::uint32_t i = 0; i < edit.count; ++i) apply_entry(edit, i, values, logical);
          return true;
        });
    RC_ASSERT(whole);
    edits.clear();
  }

  void apply_entry(const TableEdit& edit, std::uint32_t i, const std::uint64_t* values,
                   std::uint32_t& logical) {
    const std::uint32_t index = edit.index + i;
    ++entries;
    if (edit.table == StepTable::chunk_group) {
      const auto value = static_cast<std::uint32_t>(values[i / 2] >> (i % 2 * 32));
      in_vain += chunks[index] == value ? 1 : 0;
      chunks[index] = value;
      return;
    }
    const auto blocks = static_cast<std::uint32_t>(values[i] >> 32);
    const Group group{blocks == 0 ? 0 : logical, static_cast<BlockIndex>(values[i]), blocks};
    in_vain += groups[index] == group ? 1 : 0;
    groups[index] = group;
    logical += blocks;
  }
};

struct Chunking {
  std::uint32_t block_tokens = 0;
  std::uint32_t chunk_tokens = 0;
};

// The edited tables hold the plan, and zeros behind it.
void check_plan(const EditedTables& edited, const std::vector<KvGroup>& groups,
                const Chunking& chunking) {
  for (const auto& [index, entry] : edited.groups) {
    const EditedTables::Group expected =
        index < groups.size() ? EditedTables::Group(groups[index].logical, groups[index].physical,
                                                    groups[index].blocks)
                              : EditedTables::Group();
    RC_ASSERT(entry == expected);
  }
  RC_ASSERT(edited.groups.size() >= groups.size());
  const auto chunks = plan_chunk_groups(groups, chunking.block_tokens, chunking.chunk_tokens);
  for (const auto& [index, value] : edited.chunks) {
    RC_ASSERT(value == (index < chunks.size() ? chunks[index] : 0U));
  }
  for (std::uint32_t i = 0; i < chunks.size(); ++i) {
    const auto entry = edited.chunks.find(i);
    RC_ASSERT((entry == edited.chunks.end() ? 0U : entry->second) == chunks[i]);
  }
}

void check_totals(const GroupTable& table, SlotIndex slot, std::span<const BlockIndex> blocks,
                  const MergePolicy& policy) {
  const std::vector<KvGroup> groups = plan_groups(blocks, policy);
  const std::size_t streams = plan_streams(blocks, policy).size();
  RC_ASSERT(table.blocks(slot) == blocks.size());
  RC_ASSERT(table.groups(slot) == groups.size());
  RC_ASSERT(table.streams(slot) == streams);
  RC_ASSERT(table.total_blocks() == blocks.size());
  RC_ASSERT(table.total_groups() == groups.size());
  RC_ASSERT(table.total_streams() == streams);
  SizeHistogram sizes{};
  for (const KvGroup& group : groups) {
    std::size_t size = 0;
    while (size + 1 < sizes.size() && (2U << size) <= group.blocks) ++size;
    ++sizes[size];
  }
  RC_ASSERT(table.groups_by_blocks() == sizes);
}

// Appends, and replacements that keep some first blocks: the entries equal the plan of the whole
// table after each, and a replacement edits no entry in vain.
TEST(TransferPlan, TheGroupTableEqualsThePlanAfterEveryChange) {
  constexpr SlotIndex kSlot = 2;
  std::uint64_t cut_groups = 0;
  std::uint64_t shorter = 0;
  const bool holds = rc::check([&] {
    const MergePolicy policy = draw_policy();
    const Chunking chunking{*rc::gen::element(16U, 32U, 48U), *rc::gen::element(16U, 64U, 80U)};
    GroupTable incremental({.slots = 3,
                            .max_blocks = 400,
                            .block_tokens = chunking.block_tokens,
                            .chunk_tokens = chunking.chunk_tokens,
                            .policy = policy});
    EditedTables edited;
    TableEdits edits;
    std::vector<BlockIndex> table;
    for (int change = 0; change < 12; ++change) {
      const auto drawn = *rc::gen::resize(120, block_tables());
      const std::size_t held = table.size();
      if (*rc::gen::inRange(0, 2) == 0) {
        const std::size_t added = std::min(drawn.size(), 400 - held);
        const auto most = *rc::gen::inRange<std::size_t>(0, added + 1);
        table.insert(table.end(), drawn.begin(), drawn.begin() + static_cast<long>(most));
        incremental.append(kSlot, std::span(table).subspan(held), edits);
        edited.apply(edits);
      } else {
        const auto unchanged = *rc::gen::inRange<std::size_t>(0, held + 1);
        const std::vector<KvGroup> before = plan_groups(table, policy);
        const auto inside = [&](const KvGroup& group) {
          return group.logical < unchanged && unchanged < group.logical + group.blocks;
        };
        cut_groups += std::ranges::any_of(before, inside) ? 1 : 0;
        std::vector<BlockIndex> next(table.begin(), table.begin() + static_cast<long>(unchanged));
        // What follows goes on as before for a while, so that entries stay as they are.
        const auto same = *rc::gen::inRange<std::size_t>(0, held - unchanged + 1);
        if (*rc::gen::inRange(0, 2) == 0) {
          next.insert(next.end(), table.begin() + static_cast<long>(unchanged),
                      table.begin() + static_cast<long>(unchanged + same));
        }
        const std::size_t room = std::min(drawn.size(), 400 - next.size());
        next.insert(next.end(), drawn.begin(), drawn.begin() + static_cast<long>(room));
        shorter += next.size() < held ? 1 : 0;
        incremental.replace(kSlot, next, static_cast<std::uint32_t>(unchanged), edits);
        table = next;
        edited.apply(edits);
        RC_ASSERT(edited.in_vain == 0U);
      }
      check_plan(edited, plan_groups(table, policy), chunking);
      check_totals(incremental, kSlot, table, policy);
    }
    incremental.clear(kSlot, edits);
    edited.apply(edits);
    check_plan(edited, {}, chunking);
    check_totals(incremental, kSlot, {}, policy);
  });
  EXPECT_TRUE(holds);
  EXPECT_GT(cut_groups, 10U);
  EXPECT_GT(shorter, 10U);
}

}  // namespace
}  // namespace kvrm
