// The design `tile_copy`, which no engine has on a CPU: attention that first copies a chunk's
// blocks, group by group, into a tile of the worker's own and then attends to the tile as to a
// contiguous history. It stands for transports that go through fast memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/device/device.h"
#include "kernels/attention/attention.h"

namespace kvrm {

// One item per (row, chunk). The source has groups.
struct TileCopyArgs {
  AttentionArgs attention;            // what the engines would launch
  const Kernel* kernel = nullptr;     // that attends to the tile
  std::uint32_t items_per_chunk = 1;  // of that kernel, for one chunk of one row
  std::uint32_t reserved = 0;
  std::byte* tiles = nullptr;  // [workers, tile_bytes]
  std::uint64_t tile_bytes = 0;
};

constexpr std::uint64_t tile_copy_bytes(const AttentionArgs& args) {  // of one tile
  return std::uint64_t{args.tile_tokens} * args.split_tiles / args.layout.block_tokens *
         args.layout.block_bytes();
}

const Kernel& tile_copy_kernel();

}  // namespace kvrm
