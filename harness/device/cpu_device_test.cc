// The CPU backend: every item once, a barrier between operations, memory with an account and a
// limit.
#include "harness/device/cpu_device.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "harness/base/units.h"
#include "harness/device/machine_limits.h"

namespace kvrm {
namespace {

std::unique_ptr<Device> make_device(std::uint32_t workers, std::uint64_t memory_limit_bytes = 0) {
  auto device = make_cpu_device({workers, "test", memory_limit_bytes});
  EXPECT_TRUE(device.has_value()) << device.error().message;
  return *std::move(device);
}

// Adds to each element one more than the sum of the array before it: wrong if any item ran twice,
// was left out, or ran before the operation before it had ended. Plain memory, so that a missing
// happens-before is a race for the thread sanitizer.
struct ChainArgs {
  const std::uint64_t* before = nullptr;
  std::uint64_t before_count = 0;
  std::uint64_t* here = nullptr;
};

void chain(const void* raw, std::uint32_t item, WorkerContext& worker) {
  const auto& args = *static_cast<const ChainArgs*>(raw);
  std::memset(worker.scratch.data(), static_cast<int>(worker.worker + 1), 64);
  args.here[item] +=
      std::accumulate(args.before, args.before + args.before_count, std::uint64_t{1});
}
constexpr Kernel kChain{"test/chain", &chain};
constexpr Kernel kOtherName{"test/other", &chain};

class ChainProgram {
 public:
  explicit ChainProgram(const std::vector<std::uint32_t>& items) : items_(items) {
    for (const std::uint32_t count : items_) arrays_.emplace_back(count, 0);
    args_.resize(items_.size());
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (i > 0) {
        args_[i].before = arrays_[i - 1].data();
        args_[i].before_count = arrays_[i - 1].size();
      }
      args_[i].here = arrays_[i].data();
      ops_.push_back({&kChain, &args_[i], sizeof(ChainArgs), items_[i]});
    }
  }

  std::span<const Op> ops() const { return ops_; }
  std::span<ChainArgs> args() { return args_; }
  const std::vector<std::vector<std::uint64_t>>& arrays() const { return arrays_; }

  // What `runs` runs in plain order give.
  std::vector<std::vector<std::uint64_t>> expected(int runs) const {
    std::vector<std::vector<std::uint64_t>> result;
    for (const std::uint32_t count : items_) result.emplace_back(count, 0);
    for (int run = 0; run < runs; ++run) {
      for (std::size_t i = 0; i < items_.size(); ++i) {
        const std::uint64_t sum =
            i == 0 ? 0
                   : std::accumulate(result[i - 1].begin(), result[i - 1].end(), std::uint64_t{0});
        for (std::uint64_t& value : result[i]) value += 1 + sum;
      }
    }
    return result;
  }

 private:
  std::vector<std::uint32_t> items_;
  std::vector<std::vector<std::uint64_t>> arrays_;
  std::vector<ChainArgs> args_;
  std::vector<Op> ops_;
};

RC_GTEST_PROP(CpuDevice, ReplayAndEagerRunEveryItemOnceInOrder, ()) {
  const auto workers = *rc::gen::inRange<std::uint32_t>(1, 5);
  const auto items = *rc::gen::container<std::vector<std::uint32_t>>(
      rc::gen::weightedOneOf<std::uint32_t>({{3, rc::gen::inRange<std::uint32_t>(0, 8)},
                                             {1, rc::gen::inRange<std::uint32_t>(8, 600)}}));
  const auto device = make_device(workers);
  ChainProgram replayed(items);
  const auto graph = device->record(replayed.ops());
  ChainProgram eager(items);
  for (int run = 0; run < 3; ++run) {
    device->replay(*graph);
    device->wait();
    for (const Op& op : eager.ops()) device->launch(op);
  }
  RC_ASSERT(replayed.arrays() == replayed.expected(3));
  RC_ASSERT(eager.arrays() == replayed.arrays());
}

TEST(CpuDevice, ManyReplaysWithAndWithoutSleepingWorkers) {
  const auto device = make_device(3);
  ChainProgram program({1, 5, 0, 2, 17});
  const auto graph = device->record(program.ops());
  constexpr int kReplays = 1500;
  for (int run = 0; run < kReplays; ++run) {
    // Every 100th pause is longer than workers spin, so that both ways of waking are taken.
    if (run % 100 == 99) std::this_thread::sleep_for(std::chrono::microseconds(300));
    device->replay(*graph);
    device->wait();
  }
  EXPECT_EQ(program.arrays(), program.expected(kReplays));
}

TEST(CpuDevice, EndsWhileWorkersSpinAndWhileTheySleep) {
  for (const int pause_us : {0, 20, 500}) {
    const auto device = make_device(4);
    ChainProgram program({4, 4});
    for (const Op& op : program.ops()) device->launch(op);
    EXPECT_EQ(program.arrays(), program.expected(1));
    std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
  }
}

TEST(CpuDevice, AffinityOfTheCallerIsGivenBack) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  {
    const auto device = make_device(0);
    EXPECT_LE(device->info().workers, static_cast<std::uint32_t>(CPU_COUNT(&before)));
    const auto second = make_device(0);
    EXPECT_EQ(second->info().workers, device->info().workers)
        << "a pinned caller must not shrink the next device";
  }
  cpu_set_t after;
  ASSERT_EQ(sched_getaffinity(0, sizeof(after), &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(CpuDevice, RefusesAnAbsurdNumberOfWorkers) {
  const auto device = make_cpu_device({100'000, "test", 0});
  ASSERT_FALSE(device.has_value());
  EXPECT_EQ(device.error().code, ExitCode::bad_input);
}

TEST(CpuGraph, LaunchHashFollowsEveryArgumentByteItemCountAndKernel) {
  const auto device = make_device(1);
  ChainProgram program({3, 4});
  const auto graph = device->record(program.ops());
  const std::uint64_t hash = graph->launch_hash();
  EXPECT_EQ(graph->op_count(), 2U);
  EXPECT_GE(graph->bytes(), 2 * sizeof(Op));
  EXPECT_EQ(device->record(program.ops())->launch_hash(), hash);

  auto bytes = std::as_writable_bytes(program.args());
  for (std::byte& byte : bytes) {
    byte ^= std::byte{1};
    EXPECT_NE(graph->launch_hash(), hash);
    byte ^= std::byte{1};
  }
  EXPECT_EQ(graph->launch_hash(), hash);

  std::vector<Op> ops(program.ops().begin(), program.ops().end());
  ops[1].items = 5;
  EXPECT_NE(device->record(ops)->launch_hash(), hash);
  ops[1].items = 4;
  ops[1].kernel = &kOtherName;
  EXPECT_NE(device->record(ops)->launch_hash(), hash);
  std::vector<Op> swapped = {program.ops()[1], program.ops()[0]};
  EXPECT_NE(device->record(swapped)->launch_hash(), hash);
}

std::uint64_t held(const Device& device, MemoryPurpose purpose) {
  return device.memory().bytes[static_cast<std::size_t>(purpose)];
}

TEST(CpuMemory, IsZeroAlignedAndAccountedByPurpose) {
  const auto device = make_device(1);
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
  const auto device = make_device(1, 10 * kMiB);
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
  const auto device = make_device(1);
  for (const std::size_t bytes : {std::size_t{1} << 50, ~std::size_t{0} - 100}) {
    const auto buffer = device->allocate(MemoryPurpose::activations, bytes);
    ASSERT_FALSE(buffer.has_value());
    EXPECT_NE(buffer.error().message.find("may still take"), std::string::npos);
  }
  EXPECT_EQ(held(*device, MemoryPurpose::activations), 0U);
}

}  // namespace
}  // namespace kvrm
