#include "engines/bench/chunk_copies.h"

#include <algorithm>

namespace kvrm {
namespace {

constexpr std::uint64_t kItemBytes = kMiB;  // of one item, at least

struct ChunkArgs {
  ChunkList list;
  std::uint64_t chunks_per_item = 0;
  CopyLoop loop = CopyLoop::memcpy;
  std::uint32_t reserved = 0;
};

void copy_item(const void* raw_args, std::uint32_t item, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const ChunkArgs*>(raw_args);
  const ChunkList& list = args.list;
  const std::uint64_t first = item * args.chunks_per_item;
  const std::uint64_t end =
      std::min<std::uint64_t>(first + args.chunks_per_item, list.chunks.size());
  const ItemCopies copies(args.loop);
  for (std::uint64_t i = first; i < end; ++i) {
    const std::uint32_t next = list.chunks[std::min(i + 1, end - 1)];
    copies.add({.source = list.source + list.chunks[i] * list.chunk_bytes,
                .destination = list.destination + i * list.chunk_bytes,
                .bytes = list.chunk_bytes,
                .next = list.source + next * list.chunk_bytes});
  }
}

constexpr Kernel kCopyChunks{"bench/copy_chunks", copy_item};

}  // namespace

Nanoseconds copy_chunks(Device& device, const ChunkList& list, CopyLoop loop) {
  ChunkArgs args;
  args.list = list;
  args.chunks_per_item = std::max<std::uint64_t>(1, kItemBytes / list.chunk_bytes);
  args.loop = loop;
  const auto items =
      static_cast<std::uint32_t>(divide_up(list.chunks.size(), args.chunks_per_item));
  const Op op{&kCopyChunks, &args, sizeof(args), items};
  const Nanoseconds start = device.clock().now();
  device.launch(op);
  device.wait();
  return std::max<Nanoseconds>(1, device.clock().now() - start);
}

double copy_limit(Device& device, const ChunkList& list) {
  const Nanoseconds best = std::min(copy_chunks(device, list, CopyLoop::memcpy),
                                    copy_chunks(device, list, CopyLoop::streaming));
  return static_cast<double>(list.bytes()) / static_cast<double>(best);
}

}  // namespace kvrm
