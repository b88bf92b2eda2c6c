// Argument lists that stay put, and graphs that notice when they do not.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "engines/graph/checked_graph.h"
#include "engines/graph/op_list.h"
#include "harness/device/cpu_device.h"

namespace kvrm {
namespace {

struct AddArgs {
  std::uint8_t amount = 0;  // seven bytes of padding follow
  std::uint64_t* sum = nullptr;
};
void add(const void* raw, std::uint32_t, WorkerContext&) {
  const auto& args = *static_cast<const AddArgs*>(raw);
  *args.sum += args.amount;
}
constexpr Kernel kAdd{"test/add", &add};

struct WideArgs {
  std::byte bytes[3000] = {};
};

AddArgs args_on_dirty_memory(std::byte dirt, std::uint64_t* sum) {
  alignas(AddArgs) std::byte memory[sizeof(AddArgs)];
  std::memset(memory, static_cast<int>(dirt), sizeof(memory));
  auto* args = reinterpret_cast<AddArgs*>(memory);
  args->amount = 3;
  args->sum = sum;
  return *args;
}

TEST(OpList, ArgumentsKeepTheirAddressAndBytesWhileTheListGrows) {
  OpList list;
  std::uint64_t sum = 0;
  std::vector<const void*> addresses;
  for (std::uint8_t i = 0; i < 200; ++i) {
    list.add(&kAdd, AddArgs{i, &sum}, i);
    addresses.push_back(list.ops().back().args);
    if (i % 10 == 0) list.add(&kAdd, WideArgs{}, 1);
  }
  std::size_t index = 0;
  for (const Op& op : list.ops()) {
    if (op.args_bytes != sizeof(AddArgs)) continue;
    EXPECT_EQ(op.args, addresses[index]);
    AddArgs args;
    std::memcpy(&args, op.args, sizeof(args));
    EXPECT_EQ(args.amount, index);
    EXPECT_EQ(op.items, index);
    ++index;
  }
  EXPECT_EQ(index, 200U);
}

TEST(OpList, ClearKeepsTheMemory) {
  OpList list;
  for (int i = 0; i < 20; ++i) list.add(&kAdd, WideArgs{}, 1);
  const std::size_t bytes = list.bytes();
  const void* first = list.ops()[0].args;
  for (int round = 0; round < 3; ++round) {
    list.clear();
    EXPECT_TRUE(list.ops().empty());
    for (int i = 0; i < 20; ++i) list.add(&kAdd, WideArgs{}, 1);
    EXPECT_EQ(list.bytes(), bytes);
    EXPECT_EQ(list.ops()[0].args, first);
  }
}

TEST(OpList, PaddingBytesDoNotReachTheHash) {
#if !__has_builtin(__builtin_clear_padding)
  GTEST_SKIP() << "this compiler cannot clear padding; g++, of what is measured, can";
#endif
  const auto device = make_cpu_device({1, "test", 0}).value();
  std::uint64_t sum = 0;
  OpList clean;
  OpList dirty;
  clean.add(&kAdd, args_on_dirty_memory(std::byte{0x00}, &sum), 1);
  dirty.add(&kAdd, args_on_dirty_memory(std::byte{0xff}, &sum), 1);
  EXPECT_EQ(device->record(clean.ops())->launch_hash(), device->record(dirty.ops())->launch_hash());
}

TEST(CheckedGraph, CountsReplaysThatAreNotWhatWasRecorded) {
  const auto device = make_cpu_device({1, "test", 0}).value();
  std::uint64_t sum = 0;
  OpList list;
  list.add(&kAdd, AddArgs{5, &sum}, 2);
  auto* args = static_cast<AddArgs*>(const_cast<void*>(list.ops()[0].args));
  CheckedGraph graph(*device, std::move(list));
  const std::uint64_t recorded = graph.launch_hash();
  graph.replay(*device);
  graph.replay(*device);
  EXPECT_EQ(sum, 20U);
  EXPECT_EQ(graph.launch_hash(), recorded);
  EXPECT_EQ(graph.launch_hash_changes(), 0U);

  args->amount = 6;
  graph.replay(*device);
  EXPECT_EQ(sum, 32U);
  EXPECT_NE(graph.launch_hash(), recorded);
  EXPECT_EQ(graph.launch_hash_changes(), 1U);
}

TEST(CheckedGraph, SignatureIsThatOfRecordAndKnowsNoAddresses) {
  std::uint64_t signature = 0;
  std::uint64_t hash = 0;
  for (int round = 0; round < 2; ++round) {
    const auto device = make_cpu_device({.workers = 1}).value();
    // Memory of other sizes before it moves the second round's buffer.
    const auto other = device->allocate(MemoryPurpose::metadata, 4096 * (1 + 7 * round)).value();
    const auto sum = device->allocate(MemoryPurpose::metadata, 64).value();
    OpList list;
    list.add(&kAdd, AddArgs{5, sum.as<std::uint64_t>().data()}, 2);
    auto* args = static_cast<AddArgs*>(const_cast<void*>(list.ops()[0].args));
    CheckedGraph graph(*device, std::move(list));
    if (round == 0) {
      signature = graph.launch_signature();
      hash = graph.launch_hash();
    }
    EXPECT_EQ(graph.launch_signature(), signature);
    EXPECT_EQ(graph.launch_hash() == hash, round == 0);
    args->amount = 6;
    graph.replay(*device);
    device->wait();
    EXPECT_EQ(graph.launch_signature(), signature);
  }
}

}  // namespace
}  // namespace kvrm
