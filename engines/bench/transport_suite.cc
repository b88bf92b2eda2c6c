#include "engines/bench/transport_suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "engines/bench/bench_ground.h"
#include "engines/bench/chunk_copies.h"
#include "engines/bench/kv_placement.h"
#include "engines/graph/op_list.h"
#include "harness/base/check.h"
#include "harness/base/units.h"
#include "harness/bench/rounds.h"
#include "kernels/page/page.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kRows = 16;       // slots whose views are filled
constexpr std::uint32_t kCopyItems = 16;  // as the engines launch the copying kernels
constexpr std::uint64_t kBlockBytes = 4 * kKiB;
constexpr std::uint64_t kTokenBytes = kBlockBytes / 16;
constexpr std::uint64_t kSeed = 5;

struct TransportShape {
  std::uint64_t group_bytes = 0;  // a multiple of kBlockBytes
  std::uint64_t moved_bytes = 0;  // in one measurement, a multiple of kRows * group_bytes

  std::uint32_t groups() const { return static_cast<std::uint32_t>(moved_bytes / group_bytes); }
  std::uint32_t group_blocks() const {
    return static_cast<std::uint32_t>(group_bytes / kBlockBytes);
  }
  std::string name() const { return fmt::format("group-{}K", group_bytes / kKiB); }
};

std::vector<TransportShape> transport_shapes(BenchSize size) {
  std::vector<TransportShape> shapes;
  for (const std::uint64_t group : {4 * kKiB, 16 * kKiB, 64 * kKiB, 256 * kKiB}) {
    shapes.push_back({group, size == BenchSize::tiny ? 2 * kRows * group : 256 * kMiB});
  }
  return shapes;
}

// A pool of twice the groups that are moved, half of them for the kernels and half for the probe,
// and a view for every row. Groups of the pool's second half are where copies inside it go.
class TransportGround {
 public:
  static Result<std::unique_ptr<TransportGround>> make(const TransportShape& shape,
                                                       const KernelSet& kernels, Device& device);

  Nanoseconds run(const OpList& ops) {
    const Nanoseconds start = device_->clock().now();
    for (const Op& op : ops.ops()) device_->launch(op);
    device_->wait();
    return std::max<Nanoseconds>(1, device_->clock().now() - start);
  }
  Nanoseconds run(CopyLoop loop) { return copy_chunks(*device_, chunks(0), loop); }
  double limit() { return copy_limit(*device_, chunks(shape_.groups())); }

  const OpList& gather() const { return gather_; }
  const OpList& stage() const { return stage_; }
  const OpList& copy() const { return copy_; }
  // Whether each group lies where it should, after each kernel.
  bool copies_right();

 private:
  TransportGround(const TransportShape& shape, Device& device) : shape_(shape), device_(&device) {}
  Status allocate();
  void make_lists();
  void make_ops(const KernelSet& kernels);
  std::byte* pool_group(std::uint32_t index) const {
    return memory_.data() + std::uint64_t{index} * shape_.group_bytes;
  }
  std::byte* view() const { return memory_.data() + 2 * shape_.moved_bytes; }
  // The view as one piece: rows follow each other without gaps.
  ChunkList chunks(std::uint32_t first) const {
    return {memory_.data(), view(), shape_.group_bytes,
            std::span(order_).subspan(first, shape_.groups())};
  }
  bool view_holds_the_groups();

  TransportShape shape_;
  Device* device_;
  Buffer memory_;  // pool, then views
  std::vector<std::uint32_t> order_;
  std::vector<KvGroup> groups_;  // [rows, groups of a row]
  std::vector<StageCopy> stage_copies_;
  std::vector<BlockCopy> block_copies_;
  std::vector<std::uint32_t> lengths_;  // [rows]
  std::uint32_t count_ = 0;
  OpList gather_;
  OpList stage_;
  OpList copy_;
};

Result<std::unique_ptr<TransportGround>> TransportGround::make(const TransportShape& shape,
                                                               const KernelSet& kernels,
                                                               Device& device) {
  auto ground = std::unique_ptr<TransportGround>(new TransportGround(shape, device));
  if (const Status status = ground->allocate(); !status)
    return tl::unexpected<Error>(status.error());
  ground->make_lists();
  ground->make_ops(kernels);
  return ground;
}

Status TransportGround::allocate() {
  auto memory = device_->allocate(MemoryPurpose::kv_pool, 3 * shape_.moved_bytes);
  if (!memory) return tl::unexpected<Error>(memory.error());
  memory_ = *std::move(memory);
  fill_kv(DType::f32, memory_.as<std::byte>().first(2 * shape_.moved_bytes));
  return {};
}

void TransportGround::make_lists() {
  order_ = random_runs(1, 2 * shape_.groups(), 1, kSeed).front();
  const std::uint32_t blocks = shape_.group_blocks();
  const std::uint32_t row_groups = shape_.groups() / kRows;
  for (std::uint32_t i = 0; i < shape_.groups(); ++i) {
    const std::uint32_t logical = i % row_groups * blocks;
    const std::uint32_t physical = order_[i] * blocks;
    groups_.push_back({.logical = logical, .physical = physical, .blocks = blocks});
    stage_copies_.push_back(
        {.slot = i / row_groups, .logical = logical, .physical = physical, .blocks = blocks});
    block_copies_.push_back({.source = physical,
                             .destination = order_[shape_.groups() + i] * blocks,
                             .blocks = blocks});
  }
  // As in a step record.
  std::sort(block_copies_.begin(), block_copies_.end(),
            [](const BlockCopy& a, const BlockCopy& b) { return a.destination < b.destination; });
  count_ = shape_.groups();
  lengths_.assign(kRows, static_cast<std::uint32_t>(shape_.moved_bytes / kRows / kTokenBytes));
}

void TransportGround::make_ops(const KernelSet& kernels) {
  GatherGroupsArgs gather;
  gather.block_bytes = kBlockBytes;
  gather.pool = memory_.data();
  gather.view = view();
  gather.view_stride = shape_.moved_bytes / kRows;
  gather.groups = groups_.data();
  gather.group_stride = shape_.groups() / kRows;
  gather.rows = kRows;
  gather.length = lengths_.data();
  gather.token_bytes = kTokenBytes;
  gather_.add(kernels.gather_groups, gather, kRows);
  StageGroupsArgs stage;
  stage.block_bytes = kBlockBytes;
  stage.layer_bytes = 2 * shape_.moved_bytes;
  stage.pool = memory_.data();
  stage.view = view();
  stage.view_stride = gather.view_stride;
  stage.view_layer_bytes = shape_.moved_bytes;
  stage.copies = stage_copies_.data();
  stage.count = &count_;
  stage.layers = 1;
  stage.items = kCopyItems;
  stage_.add(kernels.stage_groups, stage, kCopyItems);
  CopyBlocksArgs copy;
  copy.block_bytes = kBlockBytes;
  copy.layer_bytes = 2 * shape_.moved_bytes;
  copy.pool = memory_.data();
  copy.copies = block_copies_.data();
  copy.count = &count_;
  copy.layers = 1;
  copy.items = kCopyItems;
  copy_.add(kernels.copy_blocks, copy, kCopyItems);
}

bool TransportGround::view_holds_the_groups() {
  const std::uint64_t bytes = shape_.group_bytes;
  bool right = true;
  for (std::uint32_t i = 0; i < shape_.groups(); ++i) {
    right = right && std::memcmp(view() + i * bytes, pool_group(order_[i]), bytes) == 0;
  }
  std::memset(view(), 0, shape_.moved_bytes);  // the next kernel finds nothing there
  return right;
}

bool TransportGround::copies_right() {
  run(gather_);
  bool right = view_holds_the_groups();
  run(stage_);
  right = view_holds_the_groups() && right;
  run(copy_);
  for (const BlockCopy& copy : block_copies_) {
    right =
        right && std::memcmp(memory_.data() + copy.destination * kBlockBytes,
                             memory_.data() + copy.source * kBlockBytes, shape_.group_bytes) == 0;
  }
  return right;
}

std::vector<RoundCase> transport_cases(TransportGround& ground, const TransportShape& shape) {
  std::vector<RoundCase> cases = {
      {.design = "gather", .measure = [&] { return ground.run(ground.gather()); }},
      {.design = "stage", .measure = [&] { return ground.run(ground.stage()); }},
      {.design = "copy_blocks", .measure = [&] { return ground.run(ground.copy()); }},
      {.design = "memcpy", .measure = [&] { return ground.run(CopyLoop::memcpy); }},
      {.design = "streaming", .measure = [&] { return ground.run(CopyLoop::streaming); }}};
  for (RoundCase& bench : cases) {
    bench.work = shape.moved_bytes;
    bench.operations = shape.groups();
  }
  return cases;
}

Result<std::vector<BenchRow>> measure_shape(const TransportShape& shape, BenchGround& bench) {
  auto ground = TransportGround::make(shape, bench.kernels(), bench.device());
  if (!ground) return tl::unexpected<Error>(ground.error());
  if (!(*ground)->copies_right()) {
    return fail(ExitCode::incorrect,
                fmt::format("suite transport: a copy at {} is wrong", shape.name()));
  }
  const std::vector<RoundCase> cases = transport_cases(**ground, shape);
  const auto samples =
      run_rounds(cases, {.rounds = bench.run().repetitions, .seed = kSeed, .probe = [&] {
                           return (*ground)->limit();
                         }});
  std::vector<BenchRow> rows;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    BenchRow row{.suite = "transport",
                 .design = cases[i].design,
                 .shape = shape.name(),
                 .threads = bench.device().info().workers};
    set_time(row, cases[i], samples[i]);
    add_rate(row, cases[i], samples[i], {.rate = "copy_gbps"});
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<BenchReport> measure_transport(const Registry& registry, const BenchRun& run) {
  std::vector<BenchPoint> points;
  for (const TransportShape& shape : transport_shapes(run.size)) {
    points.push_back({shape.name(), 3 * shape.moved_bytes,
                      [shape](BenchGround& ground) { return measure_shape(shape, ground); }});
  }
  return measure_points(registry, run, points);
}

}  // namespace

BenchSuite transport_suite() {
  return {.name = "transport",
          .description = "copies of groups of blocks, share of the copy limit",
          .cases = {},
          .measure = measure_transport};
}

}  // namespace kvrm
