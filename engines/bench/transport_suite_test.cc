// The suite `transport` at its tiny size.
#include "engines/bench/transport_suite.h"

#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "engines/bench/chunk_copies.h"
#include "harness/base/prng.h"
#include "harness/device/cpu_device.h"
#include "harness/driver/registry.h"

namespace kvrm {
namespace {

using ::testing::ElementsAre;

TEST(TransportSuite, HasEveryCopyOfEveryGroupSizeWithItsFigures) {
  const Registry registry = make_registry();
  const auto report = run_suite(transport_suite(), registry,
                                {.size = BenchSize::tiny, .repetitions = 7, .threads = {2}});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  const auto json = nlohmann::json::parse(report_to_json(*report));
  std::map<std::string, std::set<std::string>> designs;
  for (const auto& row : json["rows"]) {
    EXPECT_EQ(row["suite"], "transport");
    EXPECT_EQ(row["threads"], 2);
    designs[row["shape"]].insert(row["design"]);
    for (const char* name : {"probe_gbps", "copy_gbps", "share_of_probe", "share_of_probe_low",
                             "share_of_probe_high"}) {
      EXPECT_GT(row.at(name).get<double>(), 0) << name;
    }
  }
  std::vector<std::string> shapes;
  for (const auto& [shape, names] : designs) {
    shapes.push_back(shape);
    EXPECT_THAT(names, ElementsAre("copy_blocks", "gather", "memcpy", "stage", "streaming"));
  }
  EXPECT_THAT(shapes, ElementsAre("group-16K", "group-256K", "group-4K", "group-64K"));
}

// Both loops put every chunk where the list says, on any number of workers.
TEST(ChunkCopies, PutEveryChunkInItsPlace) {
  constexpr std::uint64_t kChunk = 4 * kKiB;
  constexpr std::uint32_t kChunks = 700;  // more than one item, the last one not full
  for (const std::uint32_t workers : {1U, 2U}) {
    auto device = make_cpu_device({.workers = workers});
    ASSERT_TRUE(device.has_value());
    auto memory = (*device)->allocate(MemoryPurpose::kv_pool, 2 * kChunks * kChunk);
    ASSERT_TRUE(memory.has_value());
    const std::span<std::uint32_t> words = memory->as<std::uint32_t>();
    constexpr std::size_t kWords = kChunk / sizeof(std::uint32_t);
    std::vector<std::uint32_t> order(kChunks);
    for (std::uint32_t i = 0; i < kChunks; ++i) order[i] = (i * 27 + 5) % kChunks;
    for (const CopyLoop loop : {CopyLoop::memcpy, CopyLoop::streaming}) {
      for (std::size_t i = 0; i < kChunks * kWords; ++i) {
        words[i] = static_cast<std::uint32_t>(mix64(i));
        words[kChunks * kWords + i] = 0;
      }
      copy_chunks(**device, {memory->data(), memory->data() + kChunks * kChunk, kChunk, order},
                  loop);
      std::uint64_t wrong = 0;
      for (std::size_t i = 0; i < kChunks * kWords; ++i) {
        const std::size_t from = order[i / kWords] * kWords + i % kWords;
        wrong += words[kChunks * kWords + i] != words[from];
      }
      EXPECT_EQ(wrong, 0U);
    }
  }
}

}  // namespace
}  // namespace kvrm
