// Memory of the CPU backend: zeroed, accounted, bounded, on the pages asked for.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "harness/base/units.h"
#include "harness/device/chain_program.h"

namespace kvrm {
namespace {

std::uint64_t held(const Device& device, MemoryPurpose purpose) {
  return device.memory().bytes[static_cast<std::size_t>(purpose)];
}

TEST(CpuMemory, IsZeroAlignedAndAccountedByPurpose) {
  const auto device = make_device({.workers = 1});
  {
    auto pool = device->allocate(MemoryPurpose::kv_pool, 3 * kMiB + 5);
    auto metadata = device->allocate(MemoryPurpose::metadata, 100);
    ASSERT_TRUE(pool.has_value() && metadata.has_value());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pool->data()) % (2 * kMiB), 0U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(metadata->data()) % 64, 0U);
    for (const Buffer* buffer : {&*pool, &*metadata}) {
      const auto bytes = buffer->as<std::byte>();
      EXPECT_TRUE(std::all_of(bytes.begin(), bytes.end(),
                              [](std::byte byte) { return byte == std::byte{0}; }));
      std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
    }
    EXPECT_EQ(held(*device, MemoryPurpose::kv_pool), 3 * kMiB + 5);
    EXPECT_EQ(held(*device, MemoryPurpose::metadata), 100U);
    Buffer moved = *std::move(pool);
    moved = *std::move(metadata);
    EXPECT_EQ(held(*device, MemoryPurpose::kv_pool), 0U) << "assignment frees what was held";
    EXPECT_EQ(held(*device, MemoryPurpose::metadata), 100U);
  }
  EXPECT_EQ(held(*device, MemoryPurpose::metadata), 0U);
  EXPECT_EQ(device->memory().peak[static_cast<std::size_t>(MemoryPurpose::kv_pool)], 3 * kMiB + 5);
}

TEST(CpuMemory, ALimitIsAnErrorThatNamesTheNumbers) {
  const auto device = make_device({.workers = 1, .memory_limit_bytes = 10 * kMiB});
  const auto first = device->allocate(MemoryPurpose::kv_pool, 6 * kMiB);
  ASSERT_TRUE(first.has_value());
  const auto second = device->allocate(MemoryPurpose::kv_view, 6 * kMiB);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ExitCode::incomplete);
  EXPECT_EQ(second.error().message,
            "out of memory: 6.00 MiB for KV view: 6.00 MiB of the limit of 10.0 MiB are in use");
  EXPECT_TRUE(device->allocate(MemoryPurpose::kv_view, 4 * kMiB).has_value());
}

TEST(CpuMemory, MoreThanTheMachineHasIsAnError) {
  const auto device = make_device({.workers = 1});
  for (const std::size_t bytes : {std::size_t{1} << 50, ~std::size_t{0} - 100}) {
    const auto buffer = device->allocate(MemoryPurpose::activations, bytes);
    ASSERT_FALSE(buffer.has_value());
    EXPECT_NE(buffer.error().message.find("may still take"), std::string::npos);
  }
  EXPECT_EQ(held(*device, MemoryPurpose::activations), 0U);
}

// What the system says of the mapping that holds `address`.
struct MappingFacts {
  std::uint64_t huge_page_kib = 0;  // AnonHugePages
  std::uint64_t resident_kib = 0;
  std::vector<std::string> flags;  // VmFlags

  bool has(const std::string& flag) const {
    return std::find(flags.begin(), flags.end(), flag) != flags.end();
  }
};

MappingFacts facts_of(const std::byte* address) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  std::ifstream in("/proc/self/smaps");
  MappingFacts facts;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      inside = begin <= wanted && wanted < end;
      continue;
    }
    if (!inside) continue;
    std::istringstream words(line);
    std::string key;
    words >> key;
    if (key == "AnonHugePages:") words >> facts.huge_page_kib;
    if (key == "Rss:") words >> facts.resident_kib;
    if (key != "VmFlags:") continue;
    for (std::string flag; words >> flag;) facts.flags.push_back(flag);
  }
  return facts;
}

bool machine_has_huge_pages() {
  std::string setting;
  std::ifstream in("/sys/kernel/mm/transparent_hugepage/enabled");
  std::getline(in, setting);
  return setting.find("[always]") != std::string::npos ||
         setting.find("[madvise]") != std::string::npos;
}

TEST(CpuMemory, KvIsOnHugePagesUnlessBasePagesAreAskedFor) {
  const auto device = make_device({.workers = 1});
  for (const MemoryPurpose purpose : {MemoryPurpose::kv_pool, MemoryPurpose::kv_view}) {
    const auto huge = device->allocate({.purpose = purpose, .bytes = 8 * kMiB});
    const auto base =
        device->allocate({.purpose = purpose, .bytes = 8 * kMiB, .pages = MemoryPages::base});
    ASSERT_TRUE(huge.has_value() && base.has_value());
    const MappingFacts of_base = facts_of(base->data());
    EXPECT_EQ(of_base.huge_page_kib, 0U);
    EXPECT_EQ(of_base.resident_kib, 8 * kKiB) << "all of it is brought in";
    EXPECT_FALSE(of_base.has("hg"));
    if (!machine_has_huge_pages()) {
      std::printf(
          "[  NOTICE  ] this machine has no transparent huge pages: huge and base pools are "
          "on the same pages here, and comparing them says nothing\n");
      continue;
    }
    EXPECT_TRUE(of_base.has("nh"));
    const MappingFacts of_huge = facts_of(huge->data());
    EXPECT_TRUE(of_huge.has("hg"));
    if (of_huge.huge_page_kib == 0) {
      std::printf("[  NOTICE  ] the system gave no huge page for 8 MiB: its memory is scattered\n");
    }
  }
}

TEST(CpuMemory, BasePagesAreAccountedAndGivenBackLikeOthers) {
  const auto device = make_device({.workers = 1, .memory_limit_bytes = kMiB});
  for (int round = 0; round < 3; ++round) {
    const auto pool = device->allocate(
        {.purpose = MemoryPurpose::kv_pool, .bytes = 700 * kKiB, .pages = MemoryPages::base});
    ASSERT_TRUE(pool.has_value()) << pool.error().message;
    EXPECT_EQ(held(*device, MemoryPurpose::kv_pool), 700 * kKiB);
    EXPECT_EQ(facts_of(pool->data()).resident_kib, 700U);
  }
  EXPECT_EQ(held(*device, MemoryPurpose::kv_pool), 0U);
}

}  // namespace
}  // namespace kvrm
