// The transfer planner: pure functions from a history's block table to the groups that transport
// moves or streams as units. Where groups go, and when, is the engine's business.
//
// How max_gap_blocks is read. Blocks merge into one group only where they are adjacent at the
// source and at the destination; a group that ran over a hole would put foreign blocks between a
// history's own, so no table entry and no copy ever spans one. What may run over a hole is reading
// ahead: `fused` reads the source in place, and neighbouring groups whose hole is at most
// max_gap_blocks are one stream of it. At gap 0 streams and groups are the same.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "harness/base/ids.h"
#include "harness/base/mutation.h"
#include "kernels/page/page.h"

namespace kvrm {

struct MergePolicy {
  std::uint32_t max_gap_blocks = 0;  // streams only
  std::uint32_t max_group_blocks =
      0;  // longest group, and longest stream with its holes; 0: no cap
};

// A span of physical blocks [first, end) that is read front to back.
struct BlockStream {
  BlockIndex first = 0;
  BlockIndex end = 0;
};

// Whether `block` continues the span, over a hole of at most max_gap blocks, without exceeding
// max_blocks (0: no cap).
constexpr bool continues(const BlockStream& span, BlockIndex block, std::uint32_t max_gap,
                         std::uint32_t max_blocks) {
  return block >= span.end &&
         block - span.end + KVRM_MUTATE(groups_stream_gap_exclusive, 0U, max_gap > 0 ? 1U : 0U) <=
             max_gap &&
         (max_blocks == 0 ||
          block - span.first < max_blocks + KVRM_MUTATE(groups_exceed_cap, 0U, 1U));
}

// The groups of a block table in logical order: runs, cut at max_group_blocks.
std::vector<KvGroup> plan_groups(std::span<const BlockIndex> table, const MergePolicy& policy);

// The streams of a block table under the policy's gap and cap.
std::vector<BlockStream> plan_streams(std::span<const BlockIndex> table, const MergePolicy& policy);

// For each chunk of chunk_tokens positions that begins inside the groups, the index of the group
// that holds the block with the chunk's first position.
std::vector<std::uint32_t> plan_chunk_groups(std::span<const KvGroup> groups,
                                             std::uint32_t block_tokens,
                                             std::uint32_t chunk_tokens);

}  // namespace kvrm
