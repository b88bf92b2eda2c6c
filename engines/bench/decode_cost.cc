#include "engines/bench/decode_cost.h"

#include <fmt/format.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "engines/bench/decode_rows.h"
#include "engines/decoder/contiguous_kv.h"
#include "harness/bench/rounds.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kSeed = 9;
// Both round to bf16 on the way, in other places: tokens may differ, logits hardly.
constexpr double kMostOutputError = 0.05;
constexpr std::uint32_t kBlockTokens = 16;

// A graph of those operations of a step that a predicate chooses.
std::unique_ptr<RecordedGraph> record_some(Device& device, std::span<const Op> ops,
                                           const std::function<bool(const Op&)>& choose) {
  std::vector<Op> chosen;
  for (const Op& op : ops) {
    if (choose(op)) chosen.push_back(op);
  }
  return device.record(chosen);
}

struct DecodePoint {
  std::string shape;
  std::uint64_t layers = 0;
  std::vector<std::uint32_t> lengths;
};

Status check_output(DecodeRows& rows, Device& device, const std::string& shape) {
  launch_all(device, rows.ops());
  const Result<double> error = rows.output_error();
  if (!error) return tl::unexpected<Error>(error.error());
  if (*error <= kMostOutputError) return {};
  return fail(ExitCode::incorrect,
              fmt::format("suite decoder: {} is off the reference by {:.2g} of its length, at most "
                          "{}",
                          shape, *error, kMostOutputError));
}

struct StepGraphs {
  std::unique_ptr<RecordedGraph> whole;
  std::unique_ptr<RecordedGraph> linear;
  std::unique_ptr<RecordedGraph> attention;
};

StepGraphs record_parts(Device& device, const DecodeRows& rows, const KernelSet& kernels) {
  return {
      device.record(rows.ops()),
      record_some(device, rows.ops(), [&](const Op& op) { return op.kernel == kernels.linear; }),
      record_some(device, rows.ops(), [&](const Op& op) {
        return op.kernel == kernels.attention || op.kernel == kernels.attention_merge;
      })};
}

// What a step has to read.
struct StepBytes {
  std::uint64_t weights = 0;
  std::uint64_t kv = 0;
};

Result<std::vector<BenchRow>> measure_parts(const DecodePoint& point, const StepGraphs& graphs,
                                            const StepBytes& bytes, BenchGround& ground) {
  const auto probe = ground.read_probe();
  if (!probe) return tl::unexpected<Error>(probe.error());
  const auto replay = [&device = ground.device()](const RecordedGraph& graph) {
    return [&device, &graph] { return timed_replay(device, graph); };
  };
  const RoundCase cases[] = {
      {"decode_step", bytes.weights + bytes.kv, point.layers, replay(*graphs.whole)},
      {"decode_linear", bytes.weights, point.layers, replay(*graphs.linear)},
      {"decode_attention", bytes.kv, point.layers, replay(*graphs.attention)}};
  const auto samples =
      run_rounds(cases, {.rounds = ground.run().repetitions, .seed = kSeed, .probe = [&] {
                           return (*probe)->measure();
                         }});
  std::vector<BenchRow> rows;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    BenchRow row{.suite = "decoder",
                 .design = cases[i].design,
                 .shape = point.shape,
                 .threads = ground.device().info().workers};
    set_time(row, cases[i], samples[i]);
    add_rate(row, cases[i], samples[i], {});
    add_inverse(row, "time_to_limit", "share_of_probe");
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<std::vector<BenchRow>> measure_decode(const DecodePoint& point, const DecoderModel& model,
                                             BenchGround& ground) {
  Device& device = ground.device();
  auto kv = ContiguousKv::make(model.shape(), kBlockTokens, model.shape().max_len,
                               static_cast<std::uint32_t>(point.lengths.size()), device);
  if (!kv) return tl::unexpected<Error>(kv.error());
  fill_kv(model.shape().kv_dtype, kv->memory());
  auto rows = DecodeRows::make({.device = &device,
                                .kernels = &ground.kernels(),
                                .reference = &ground.reference(),
                                .model = &model,
                                .lengths = point.lengths,
                                .pool = kv->memory().data()},
                               {.placement = {.block_tokens = kBlockTokens}, .write = true});
  if (!rows) return tl::unexpected<Error>(rows.error());
  if (const Status right = check_output(**rows, device, point.shape); !right)
    return tl::unexpected<Error>(right.error());
  return measure_parts(point, record_parts(device, **rows, ground.kernels()),
                       {weight_bytes(model), (*rows)->live_kv_bytes()}, ground);
}

}  // namespace

std::vector<BenchPoint> decode_points(const DecoderSize& size, LazyModel& model) {
  std::vector<BenchPoint> points;
  for (const std::uint32_t batch : size.batches) {
    const DecodePoint point{fmt::format("batch-{}-ctx-{}", batch, size.context), size.model.layers,
                            std::vector<std::uint32_t>(batch, size.context)};
    points.push_back(
        {point.shape, 0, [&model, point](BenchGround& ground) -> Result<std::vector<BenchRow>> {
           const auto loaded = model.get();
           if (!loaded) return tl::unexpected<Error>(loaded.error());
           return measure_decode(point, **loaded, ground);
         }});
  }
  return points;
}

}  // namespace kvrm
