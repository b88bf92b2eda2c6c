#include "engines/bench/tile_copy.h"

#include <algorithm>
#include <cstring>

#include "harness/base/units.h"

namespace kvrm {
namespace {

struct BlockRange {
  std::uint32_t first = 0;
  std::uint32_t end = 0;
};

// Blocks of one history, in logical order; each group's share of them at once.
void copy_blocks_of(const AttentionArgs& args, std::uint32_t history, std::uint32_t chunk,
                    BlockRange blocks, std::byte* tile) {
  const KvSource& source = args.source;
  const std::uint64_t block_bytes = args.layout.block_bytes();
  const KvGroup* group = source.groups + std::size_t{history} * source.table_stride +
                         source.chunk_group[std::size_t{history} * source.chunk_stride + chunk];
  for (std::uint32_t block = blocks.first; block < blocks.end; ++group) {
    const std::uint32_t end = std::min(blocks.end, group->logical + group->blocks);
    if (end <= block) continue;
    const std::uint64_t physical = std::uint64_t{group->physical} + (block - group->logical);
    std::memcpy(tile, source.base + physical * block_bytes, (end - block) * block_bytes);
    tile += (end - block) * block_bytes;
    block = end;
  }
}

void tile_copy(const void* raw_args, std::uint32_t item, WorkerContext& worker) {
  const auto& args = *static_cast<const TileCopyArgs*>(raw_args);
  const AttentionArgs& all = args.attention;
  const std::uint32_t row = item % all.rows;
  const std::uint32_t chunk = item / all.rows;
  const std::uint32_t chunk_tokens = all.tile_tokens * all.split_tiles;
  const std::uint32_t first = chunk * chunk_tokens;
  if (first >= all.length[row]) return;
  const std::uint32_t positions = std::min(chunk_tokens, all.length[row] - first);
  const BlockRange blocks{
      first / all.layout.block_tokens,
      static_cast<std::uint32_t>(divide_up(first + positions, all.layout.block_tokens))};
  std::byte* tile = args.tiles + worker.worker * args.tile_bytes;
  copy_blocks_of(all, all.history == nullptr ? row : all.history[row], chunk, blocks, tile);
  // The chunk as a whole history of one row.
  AttentionArgs one = all;
  one.source = {.addressing = KvAddressing::contiguous, .base = tile};
  one.rows = one.chunks = 1;
  one.query += std::size_t{row} * all.query_stride;
  one.length = &positions;
  one.history = nullptr;
  one.far = nullptr;
  one.partial += (std::size_t{row} * all.chunks + chunk) * all.query_heads *
                 partial_stride(all.layout.head_dim);
  for (std::uint32_t i = 0; i < args.items_per_chunk; ++i) args.kernel->host(&one, i, worker);
}

constexpr Kernel kTileCopy{"bench/tile_copy", tile_copy};

}  // namespace

const Kernel& tile_copy_kernel() { return kTileCopy; }

}  // namespace kvrm
