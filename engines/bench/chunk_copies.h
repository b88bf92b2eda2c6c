// A list of equal chunks at random places of a source, copied to a destination one after the other:
// the limit of a transport that moves groups of that size, reached by the
// kernels' own loops, each by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "harness/base/units.h"
#include "harness/device/device.h"
#include "kernels/page/copy_bytes.h"

namespace kvrm {

struct ChunkList {
  const std::byte* source = nullptr;
  std::byte* destination = nullptr;
  std::uint64_t chunk_bytes = 0;
  std::span<const std::uint32_t> chunks;  // chunk i of the destination is chunk chunks[i] of the
                                          // source

  std::uint64_t bytes() const { return chunks.size() * chunk_bytes; }
};

// Copies the whole list on all workers.
Nanoseconds copy_chunks(Device& device, const ChunkList& list, CopyLoop loop);

// GB/s of the better loop, bytes counted once.
double copy_limit(Device& device, const ChunkList& list);

}  // namespace kvrm
