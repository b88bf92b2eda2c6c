// Block copies as a record may order them (DESIGN 19, 10 and 12): in any order and on any number of
// items what a copy of everything before the first write gives; nothing twice, and nothing outside.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "harness/base/prng.h"
#include "kernels/page/page.h"
#include "kernels/page/page_kernels.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kBlockBytes = 8;
constexpr std::uint32_t kBlocks = 24;
constexpr std::uint32_t kLayers = 2;
constexpr std::uint32_t kSlots = 3;
constexpr std::uint32_t kViewBlocks = 6;
constexpr std::byte kCanary{0xa5};

using Bytes = std::vector<std::byte>;

Bytes random_pool(RandomStream& random) {
  Bytes pool(kLayers * kBlocks * kBlockBytes);
  for (std::byte& byte : pool) byte = static_cast<std::byte>(random.below(256));
  return pool;
}

void run_in_any_order(const Kernel& kernel, const void* args, std::uint32_t items,
                      RandomStream& random) {
  std::vector<std::uint32_t> order(items);
  std::iota(order.begin(), order.end(), 0U);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  WorkerContext worker;
  for (const std::uint32_t item : order) kernel.host(args, item, worker);
}

void copy_block(const Bytes& from, std::uint64_t source, Bytes& to, std::uint64_t destination) {
  std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(source * kBlockBytes), kBlockBytes,
              to.begin() + static_cast<std::ptrdiff_t>(destination * kBlockBytes));
}

// Runs of one to three blocks whose destinations are no other copy's source or destination; a
// source may be copied often.
std::vector<BlockCopy> draw_block_copies(RandomStream& random) {
  std::vector<BlockCopy> copies;
  std::set<std::uint32_t> sources;
  std::set<std::uint32_t> destinations;
  for (int attempt = 0; attempt < 12; ++attempt) {
    const auto blocks = static_cast<std::uint32_t>(1 + random.below(3));
    const auto source = static_cast<std::uint32_t>(random.below(kBlocks - blocks + 1));
    auto destination = static_cast<std::uint32_t>(random.below(kBlocks - blocks + 1));
    if (random.below(3) == 0) destination = std::min(source + blocks, kBlocks - blocks);
    bool free = source + blocks <= destination || destination + blocks <= source;
    for (std::uint32_t b = 0; b < blocks; ++b) {
      free = free && !destinations.contains(source + b) && !sources.contains(destination + b) &&
             !destinations.contains(destination + b);
    }
    if (!free) continue;
    for (std::uint32_t b = 0; b < blocks; ++b) {
      sources.insert(source + b);
      destinations.insert(destination + b);
    }
    copies.push_back({source, destination, blocks, 0});
  }
  return copies;
}

TEST(CopyOrder, BlockCopiesAreCopyAllThenWrite) {
  std::uint64_t shared_sources = 0;
  std::uint64_t adjacent = 0;
  const bool holds = rc::check([&] {
    RandomStream random(*rc::gen::arbitrary<std::uint64_t>(), "block copies");
    const std::vector<BlockCopy> copies = draw_block_copies(random);
    const Bytes before = random_pool(random);
    Bytes expected = before;
    std::set<std::uint32_t> seen;
    for (const BlockCopy& copy : copies) {
      for (std::uint32_t b = 0; b < copy.blocks; ++b) {
        shared_sources += seen.insert(copy.source + b).second ? 0 : 1;
        for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
          copy_block(before, layer * kBlocks + copy.source + b, expected,
                     layer * kBlocks + copy.destination + b);
        }
      }
      adjacent += copy.source + copy.blocks == copy.destination ? 1 : 0;
    }
    Bytes pool = before;
    const auto count = static_cast<std::uint32_t>(copies.size());
    CopyBlocksArgs args{.block_bytes = kBlockBytes,
                        .layer_bytes = kBlocks * kBlockBytes,
                        .pool = pool.data(),
                        .copies = copies.data(),
                        .count = &count,
                        .layers = kLayers,
                        .items = static_cast<std::uint32_t>(1 + random.below(40))};
    run_in_any_order(copy_blocks_kernel(), &args, args.items, random);
    RC_ASSERT(pool == expected);
  });
  EXPECT_TRUE(holds);
  EXPECT_GT(shared_sources, 20U);
  EXPECT_GT(adjacent, 20U);
}

// A table of each slot, cut into groups anywhere.
std::vector<StageCopy> draw_stage_copies(RandomStream& random) {
  std::vector<StageCopy> copies;
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
    for (std::uint32_t logical = 0; logical < kViewBlocks;) {
      const auto most = std::min<std::uint64_t>(3, kViewBlocks - logical);
      const auto blocks = static_cast<std::uint32_t>(1 + random.below(most));
      const auto physical = static_cast<std::uint32_t>(random.below(kBlocks - blocks + 1));
      copies.push_back({slot, logical, physical, blocks});
      logical += blocks;
    }
  }
  return copies;
}

TEST(CopyOrder, StagedGroupsAreThePerBlockCopiesAndNothingOutside) {
  std::uint64_t by_groups = 0;
  std::uint64_t idle_rows = 0;
  const bool holds = rc::check([&] {
    RandomStream random(*rc::gen::arbitrary<std::uint64_t>(), "stage copies");
    std::vector<StageCopy> copies = draw_stage_copies(random);
    const auto stage_all = static_cast<std::uint32_t>(random.below(2));
    std::vector<KvGroup> groups(kSlots * kViewBlocks);
    std::vector<std::uint32_t> length(kSlots);
    std::vector<std::uint32_t> used(kSlots);
    for (std::uint32_t& tokens : length) tokens = static_cast<std::uint32_t>(random.below(2));
    for (const StageCopy& copy : copies) {
      groups[copy.slot * kViewBlocks + used[copy.slot]++] = {copy.logical, copy.physical,
                                                             copy.blocks, 0};
    }
    if (stage_all == 0) std::erase_if(copies, [&](const auto&) { return random.below(3) == 0; });
    const Bytes pool = random_pool(random);
    Bytes expected(kLayers * kSlots * kViewBlocks * kBlockBytes, kCanary);
    Bytes view = expected;
    for (const StageCopy& copy : copies) {
      if (stage_all != 0 && length[copy.slot] == 0) continue;
      for (std::uint32_t i = 0; i < kLayers * copy.blocks; ++i) {
        const std::uint32_t layer = i / copy.blocks;
        const std::uint32_t block = i % copy.blocks;
        copy_block(pool, layer * kBlocks + copy.physical + block, expected,
                   (layer * kSlots + copy.slot) * kViewBlocks + copy.logical + block);
      }
    }
    const auto count = stage_all == 0 ? static_cast<std::uint32_t>(copies.size()) : 0;
    StageGroupsArgs args;
    args.block_bytes = kBlockBytes;
    args.layer_bytes = kBlocks * kBlockBytes;
    args.pool = pool.data();
    args.view = view.data();
    args.view_stride = kViewBlocks * kBlockBytes;
    args.view_layer_bytes = kSlots * kViewBlocks * kBlockBytes;
    args.copies = copies.data();
    args.count = &count;
    args.layers = kLayers;
    args.items = static_cast<std::uint32_t>(1 + random.below(40));
    args.rows = kSlots;
    args.group_stride = kViewBlocks;
    args.stage_all = &stage_all;
    args.length = length.data();
    args.groups = groups.data();
    run_in_any_order(stage_groups_kernel(), &args, args.items, random);
    RC_ASSERT(view == expected);
    by_groups += stage_all;
    idle_rows += static_cast<std::uint64_t>(std::ranges::count(length, 0U));
  });
  EXPECT_TRUE(holds);
  EXPECT_GT(by_groups, 20U);
  EXPECT_GT(idle_rows, 50U);
}

}  // namespace
}  // namespace kvrm
