// Both loops of the copies of KV bytes, at every size and alignment, and the kernels that choose
// between them where they stream.
#include "kernels/page/copy_bytes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "harness/base/huge_array.h"
#include "harness/base/prng.h"
#include "harness/base/units.h"
#include "kernels/page/page.h"
#include "kernels/page/page_kernels.h"

namespace kvrm {
namespace {

constexpr std::byte kCanary{0xa5};
constexpr std::size_t kMargin = 256;  // before and after what is copied

using Bytes = HugeArray<std::byte>;

// A multiple of 8.
Bytes random_bytes(std::size_t count) {
  Bytes bytes(count);
  for (std::size_t at = 0; at < count; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = mix64(at);
    std::memcpy(bytes.data() + at, &word, sizeof(word));
  }
  return bytes;
}

Bytes canaries(std::size_t count) {
  Bytes bytes(count);
  std::fill_n(bytes.data(), count, kCanary);
  return bytes;
}

bool equal(const Bytes& a, const Bytes& b) {
  return std::memcmp(a.data(), b.data(), a.size()) == 0;
}

// Copies bytes from `source_at` to `destination_at` past a line and compares all of the memory.
void expect_copy(const Bytes& source, const ByteCopy& sizes, std::size_t source_at,
                 std::size_t destination_at, CopyLoop loop) {
  Bytes to = canaries(source.size());
  Bytes expected = canaries(source.size());
  const std::byte* first = source.data() + kMargin + source_at;
  std::copy_n(first, sizes.bytes, expected.data() + kMargin + destination_at);
  {
    const ItemCopies copies(loop);
    copies.add({.source = first,
                .destination = to.data() + kMargin + destination_at,
                .bytes = sizes.bytes,
                .next = sizes.next});
  }
  EXPECT_TRUE(equal(to, expected))
      << sizes.bytes << " bytes, " << source_at << " to " << destination_at;
}

TEST(ItemCopies, CopyAnySizeAtAnyAlignmentAndNothingBeside) {
  const Bytes source = random_bytes(8 * kKiB);
  for (const CopyLoop loop : {CopyLoop::memcpy, CopyLoop::streaming}) {
    for (const std::size_t bytes : {0U, 1U, 63U, 2047U, 2048U, 2049U, 2111U, 2112U, 5000U}) {
      for (const std::size_t source_at : {0U, 1U, 8U, 63U}) {
        for (const std::size_t at : {0U, 1U, 16U, 32U, 63U}) {
          expect_copy(source, {.bytes = bytes, .next = source.data()}, source_at, at, loop);
          expect_copy(source, {.bytes = bytes}, source_at, at, loop);
        }
      }
    }
  }
}

TEST(CopyLoopOf, StreamsLargeLaunchesOnly) {
  EXPECT_EQ(copy_loop_of(0), CopyLoop::memcpy);
  EXPECT_EQ(copy_loop_of(kMiB), CopyLoop::memcpy);
  EXPECT_EQ(copy_loop_of(kGiB), CopyLoop::streaming);
}

// Launches large enough to stream, of groups of two blocks whose bytes are no multiple of a line:
// group g of the pool goes to the place of group groups - 1 - g.
struct LargeLaunch {
  static constexpr std::uint64_t kBlockBytes = 8 * kKiB + 24;
  static constexpr std::uint32_t kBlocks = 12'800;  // 100 MiB
  static constexpr std::uint32_t kGroups = kBlocks / 2;
  static constexpr std::uint64_t kBytes = kBlocks * kBlockBytes;

  Bytes pool = random_bytes(kBytes);

  static std::uint32_t mirrored(std::uint32_t group) { return kGroups - 1 - group; }
  bool is_mirrored(const std::byte* view) const {
    bool right = true;
    for (std::uint32_t group = 0; group < kGroups; ++group) {
      right = right && std::memcmp(view + 2 * mirrored(group) * kBlockBytes,
                                   pool.data() + 2 * group * kBlockBytes, 2 * kBlockBytes) == 0;
    }
    return right;
  }
};

void run_items(const Kernel& kernel, const void* args, std::uint32_t items) {
  WorkerContext worker;
  for (std::uint32_t item = 0; item < items; ++item) kernel.host(args, item, worker);
}

std::vector<KvGroup> mirrored_groups() {
  std::vector<KvGroup> groups;
  for (std::uint32_t i = 0; i < LargeLaunch::kGroups; ++i) {
    groups.push_back({2 * i, 2 * LargeLaunch::mirrored(i), 2, 0});
  }
  return groups;
}

TEST(StreamedKernels, GatherPutsEveryGroupInItsPlace) {
  const LargeLaunch launch;
  Bytes view = canaries(LargeLaunch::kBytes);
  const std::vector<KvGroup> groups = mirrored_groups();
  const std::uint32_t lengths[] = {LargeLaunch::kBlocks / 2, LargeLaunch::kBlocks / 2};
  GatherGroupsArgs args;
  args.block_bytes = LargeLaunch::kBlockBytes;
  args.pool = launch.pool.data();
  args.view = view.data();
  args.groups = groups.data();
  args.group_stride = LargeLaunch::kGroups / 2;
  args.rows = 2;
  args.length = lengths;
  args.token_bytes = LargeLaunch::kBlockBytes;
  run_items(gather_groups_kernel(), &args, 2);
  EXPECT_TRUE(launch.is_mirrored(view.data()));
}

TEST(StreamedKernels, StagingPutsEveryGroupInItsPlaceFromAListAndFromGroups) {
  const LargeLaunch launch;
  const std::vector<KvGroup> groups = mirrored_groups();
  std::vector<StageCopy> copies;
  for (const KvGroup& group : groups) {
    copies.push_back(
        {.slot = 0, .logical = group.logical, .physical = group.physical, .blocks = group.blocks});
  }
  const auto count = static_cast<std::uint32_t>(copies.size());
  const std::uint32_t length = 1;
  for (const std::uint32_t stage_all : {0U, 1U}) {
    Bytes view = canaries(LargeLaunch::kBytes);
    StageGroupsArgs args;
    args.block_bytes = LargeLaunch::kBlockBytes;
    args.pool = launch.pool.data();
    args.view = view.data();
    args.copies = copies.data();
    args.count = &count;
    args.layers = 1;
    args.items = 3;
    args.rows = 1;
    args.group_stride = LargeLaunch::kGroups;
    args.stage_all = &stage_all;
    args.length = &length;
    args.groups = groups.data();
    run_items(stage_groups_kernel(), &args, args.items);
    EXPECT_TRUE(launch.is_mirrored(view.data())) << stage_all;
  }
}

// Two layers; the copies follow the sources.
TEST(StreamedKernels, BlockCopiesAreCopied) {
  constexpr std::uint32_t kCopied = LargeLaunch::kBlocks / 2;
  const LargeLaunch launch;
  const std::uint64_t copied_bytes = kCopied * LargeLaunch::kBlockBytes;
  const std::uint64_t layer_bytes = 2 * copied_bytes;
  Bytes pool = canaries(2 * layer_bytes);
  for (std::uint64_t layer = 0; layer < 2; ++layer) {
    std::copy_n(launch.pool.data() + layer * copied_bytes, copied_bytes,
                pool.data() + layer * layer_bytes);
  }
  std::vector<BlockCopy> copies;
  for (std::uint32_t i = 0; i < kCopied; i += 4) copies.push_back({i, kCopied + i, 4, 0});
  const auto count = static_cast<std::uint32_t>(copies.size());
  CopyBlocksArgs args;
  args.block_bytes = LargeLaunch::kBlockBytes;
  args.layer_bytes = layer_bytes;
  args.pool = pool.data();
  args.copies = copies.data();
  args.count = &count;
  args.layers = 2;
  args.items = 5;
  run_items(copy_blocks_kernel(), &args, args.items);
  for (std::uint64_t layer = 0; layer < 2; ++layer) {
    const std::byte* first = pool.data() + layer * layer_bytes;
    EXPECT_EQ(std::memcmp(first, launch.pool.data() + layer * copied_bytes, copied_bytes), 0);
    EXPECT_EQ(std::memcmp(first + copied_bytes, first, copied_bytes), 0);
  }
}

}  // namespace
}  // namespace kvrm
