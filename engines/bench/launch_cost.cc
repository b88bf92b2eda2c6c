#include "engines/bench/launch_cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "engines/bench/decode_rows.h"
#include "engines/graph/checked_graph.h"
#include "engines/graph/op_list.h"
#include "harness/bench/rounds.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kOps = 32 * 12;
constexpr std::uint32_t kReplays = 16;  // in one measurement
constexpr std::uint64_t kSeed = 3;

struct NoArgs {
  std::uint64_t words[8] = {};  // about as many bytes as most arguments have
};

constexpr Kernel kNothing{"bench/nothing", [](const void*, std::uint32_t, WorkerContext&) {}};

OpList empty_ops(std::uint32_t items) {
  OpList ops;
  for (std::uint32_t i = 0; i < kOps; ++i) ops.add(&kNothing, NoArgs{}, items);
  return ops;
}

template <class Function>
Nanoseconds timed(Device& device, const Function& run) {
  const Nanoseconds start = device.clock().now();
  for (std::uint32_t i = 0; i < kReplays; ++i) run();
  return std::max<Nanoseconds>(1, device.clock().now() - start);
}

Result<std::vector<BenchRow>> measure(std::uint32_t items, BenchGround& ground) {
  Device& device = ground.device();
  const OpList ops = empty_ops(items);
  const std::unique_ptr<RecordedGraph> graph = device.record(ops.ops());
  CheckedGraph checked(device, empty_ops(items));
  // Eager steps are built anew, as a runtime without graphs has to.
  OpList eager_ops;
  const auto eager = [&] {
    eager_ops.clear();
    for (std::uint32_t i = 0; i < kOps; ++i) eager_ops.add(&kNothing, NoArgs{}, items);
    launch_all(device, eager_ops.ops());
  };
  const auto replay_checked = [&] {
    checked.replay(device);
    device.wait();
  };
  std::vector<RoundCase> cases = {
      {.design = "eager", .measure = [&] { return timed(device, eager); }},
      {.design = "replay",
       .measure = [&] { return timed(device, [&] { timed_replay(device, *graph); }); }},
      {.design = "replay_checked", .measure = [&] { return timed(device, replay_checked); }}};
  for (RoundCase& bench : cases) bench.operations = std::uint64_t{kOps} * kReplays;
  const auto samples =
      run_rounds(cases, {.rounds = ground.run().repetitions, .seed = kSeed, .probe = {}});
  std::vector<BenchRow> rows;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    BenchRow row{.suite = "decoder",
                 .design = cases[i].design,
                 .shape = fmt::format("empty-{}-items-{}", kOps, items),
                 .threads = device.info().workers};
    set_time(row, cases[i], samples[i]);
    add_time_ratio(row, "ratio_to_eager", samples[i], samples[0]);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

std::vector<BenchPoint> launch_points() {
  std::vector<BenchPoint> points;
  for (const std::uint32_t items : {1U, 16U}) {
    points.push_back({fmt::format("empty-{}-items-{}", kOps, items), 0,
                      [items](BenchGround& ground) { return measure(items, ground); }});
  }
  return points;
}

}  // namespace kvrm
