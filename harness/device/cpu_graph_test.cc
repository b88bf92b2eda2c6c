// What a recorded graph says of itself: its launch hash follows every byte, its signature
// everything but where memory lies.
#include "harness/device/cpu_graph.h"

#include <gtest/gtest.h>

#include <vector>

#include "harness/device/chain_program.h"
#include "harness/device/page_mapper.h"

namespace kvrm {
namespace {

TEST(CpuGraph, LaunchHashFollowsEveryArgumentByteItemCountAndKernel) {
  const auto device = make_device({.workers = 1});
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

// Two buffers, a view and a weight, as an engine's graph refers to them.
struct PlacedArgs {
  std::byte* input = nullptr;
  std::byte* output = nullptr;
  const std::byte* view = nullptr;
  const float* weight = nullptr;
  std::uint64_t length = 0;
  std::uint32_t rows = 0;
  std::uint32_t tail = 0;
};

constexpr Kernel kPlaced{"test/placed", [](const void*, std::uint32_t, WorkerContext&) {}};
constexpr float kWeights[2] = {1, 2};

// Everything that a graph is built from lives here, so that two are alike but for their addresses.
class PlacedGraph {
 public:
  explicit PlacedGraph(Device& device)
      : device_(device),
        input_(*device.allocate(MemoryPurpose::activations, 3000)),
        output_(*device.allocate(MemoryPurpose::kv_pool, 5000)),
        view_(*device.page_mapper()->reserve_view(2 * device.page_mapper()->page_bytes())) {
    args_ = {input_.data() + 64, output_.data(), view_.data(), kWeights, 100, 7, 8};
  }

  PlacedArgs& args() { return args_; }
  std::byte* input() const { return input_.data(); }
  std::byte* output() const { return output_.data(); }
  std::uint64_t signature() const { return record()->launch_signature(); }
  std::uint64_t hash() const { return record()->launch_hash(); }

 private:
  std::unique_ptr<RecordedGraph> record() const {
    const std::vector<Op> ops = {{&kPlaced, &args_, sizeof(args_), 2},
                                 {&kPlaced, &args_, sizeof(args_), 3}};
    return device_.record(ops);
  }

  Device& device_;
  Buffer input_;
  Buffer output_;
  MappedView view_;
  PlacedArgs args_;
};

TEST(CpuGraph, SignatureIsTheSameWhereverTheSameConstructionLies) {
  const auto device = make_device({.workers = 1});
  const auto other_device = make_device({.workers = 1});
  const auto shift = other_device->allocate(MemoryPurpose::activations, 123'456);
  PlacedGraph first(*device);
  PlacedGraph second(*device);
  PlacedGraph elsewhere(*other_device);
  EXPECT_NE(first.hash(), second.hash()) << "addresses differ";
  EXPECT_EQ(first.signature(), second.signature());
  EXPECT_EQ(first.signature(), elsewhere.signature());
}

TEST(CpuGraph, SignatureFollowsShapesOffsetsRolesAndForeignPointers) {
  const auto device = make_device({.workers = 1});
  PlacedGraph reference(*device);
  const std::uint64_t signature = reference.signature();
  const std::vector<std::function<void(PlacedGraph&)>> changes = {
      [](PlacedGraph& graph) { ++graph.args().length; },
      [](PlacedGraph& graph) { ++graph.args().rows; },
      [](PlacedGraph& graph) { ++graph.args().tail; },
      [](PlacedGraph& graph) { graph.args().input += 64; },
      [](PlacedGraph& graph) { graph.args().view += 64; },
      [](PlacedGraph& graph) { graph.args().weight = kWeights + 1; },
      [](PlacedGraph& graph) { graph.args().output = graph.input(); },
      [](PlacedGraph& graph) { graph.args().input = graph.output() + 64; },
      [](PlacedGraph& graph) { graph.args().output = nullptr; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    PlacedGraph changed(*device);
    EXPECT_EQ(changed.signature(), signature);
    changes[i](changed);
    EXPECT_NE(changed.signature(), signature) << "change " << i;
  }
}

TEST(CpuGraph, MemoryThatWasGivenBackIsForeign) {
  const auto device = make_device({.workers = 1});
  const auto signature_of = [&](const std::byte* address) {
    PlacedArgs args;
    args.view = address;
    const Op op{&kPlaced, &args, sizeof(args), 1};
    return device->record({&op, 1})->launch_signature();
  };
  const std::byte* address = nullptr;
  std::uint64_t held = 0;
  {
    const auto buffer = device->allocate(MemoryPurpose::metadata, 4096);
    address = buffer->data();
    held = signature_of(address);
  }
  EXPECT_NE(signature_of(address), held);
  {
    const auto view = device->page_mapper()->reserve_view(4096);
    address = view->data();
    EXPECT_EQ(signature_of(address), held) << "the first byte of the first range, either way";
  }
  EXPECT_NE(signature_of(address), held);
}

}  // namespace
}  // namespace kvrm
