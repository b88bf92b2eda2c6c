#include "engines/transport/group_planner.h"

namespace kvrm {

std::vector<KvGroup> plan_groups(std::span<const BlockIndex> table, const MergePolicy& policy) {
  std::vector<KvGroup> groups;
  for (std::uint32_t logical = 0; logical < table.size(); ++logical) {
    const BlockIndex block = table[logical];
    if (!groups.empty()) {
      KvGroup& last = groups.back();
      const BlockStream span{last.physical, last.physical + last.blocks};
      if (continues(span, block, KVRM_MUTATE(groups_merge_across_gap, 0U, 1U),
                    policy.max_group_blocks)) {
        ++last.blocks;
        continue;
      }
    }
    groups.push_back({.logical = logical, .physical = block, .blocks = 1});
  }
  return groups;
}

std::vector<BlockStream> plan_streams(std::span<const BlockIndex> table,
                                      const MergePolicy& policy) {
  std::vector<BlockStream> streams;
  for (const BlockIndex block : table) {
    if (!streams.empty() &&
        continues(streams.back(), block, policy.max_gap_blocks, policy.max_group_blocks)) {
      streams.back().end = block + 1;
    } else {
      streams.push_back({block, block + 1});
    }
  }
  return streams;
}

std::vector<std::uint32_t> plan_chunk_groups(std::span<const KvGroup> groups,
                                             std::uint32_t block_tokens,
                                             std::uint32_t chunk_tokens) {
  std::vector<std::uint32_t> result;
  for (std::uint32_t group = 0; group < groups.size(); ++group) {
    const std::uint64_t end =
        (std::uint64_t{groups[group].logical} + groups[group].blocks) * block_tokens;
    while (result.size() * std::uint64_t{chunk_tokens} <
           end + KVRM_MUTATE(groups_chunk_points_one_early, 0U, 1U))
      result.push_back(group);
  }
  return result;
}

}  // namespace kvrm
