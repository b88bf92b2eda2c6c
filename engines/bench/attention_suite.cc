#include "engines/bench/attention_suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "engines/bench/attention_shapes.h"
#include "engines/bench/attention_step.h"
#include "engines/bench/bench_ground.h"
#include "engines/bench/kv_placement.h"
#include "engines/decoder/decoder_model.h"
#include "harness/base/units.h"
#include "harness/bench/rounds.h"

namespace kvrm {
namespace {

// Twice what rounding queries and weights to bf16 would give; another history's KV gives above 1.
constexpr double kMostOutputError = 0.02;
constexpr std::uint64_t kOrderSeed = 7;

// `contiguous` is first: the others are compared with it.
constexpr AttentionDesign kDesigns[] = {
    {.name = "contiguous", .placement = {.addressing = KvAddressing::contiguous}},
    {.name = "contiguous_full",
     .placement = {.addressing = KvAddressing::contiguous},
     .compute_full = true},
    {.name = "paged16", .placement = {.addressing = KvAddressing::table}},
    {.name = "paged64", .placement = {.addressing = KvAddressing::table, .block_tokens = 64}},
    {.name = "runs16", .placement = {.addressing = KvAddressing::groups, .run_blocks = 16}},
    {.name = "runs64", .placement = {.addressing = KvAddressing::groups, .run_blocks = 64}},
    {.name = "tile_copy",
     .placement = {.addressing = KvAddressing::groups, .run_blocks = 16},
     .copy_tile = true},
};

Result<std::unique_ptr<DecoderModel>> make_model(const AttentionShape& shape) {
  ModelSpec spec;
  spec.shape = {.kind = ModelKind::attention_only,
                .layers = shape.layers(),
                .query_heads = shape.query_heads,
                .kv_heads = shape.kv_heads,
                .head_dim = shape.head_dim,
                .max_len = shape.max_len,
                .kv_dtype = shape.dtype};
  return DecoderModel::load(spec);
}

using Steps = std::vector<std::unique_ptr<AttentionStep>>;

Result<Steps> make_steps(const DecodeGround& ground, const AttentionShape& shape) {
  Steps steps;
  for (const AttentionDesign& design : kDesigns) {
    auto step = AttentionStep::make(ground, design);
    if (!step) return tl::unexpected<Error>(step.error());
    const Result<double> error = (*step)->output_error();
    if (!error) return tl::unexpected<Error>(error.error());
    if (!(*error <= kMostOutputError)) {
      return fail(ExitCode::incorrect,
                  fmt::format("suite attention: {} at {} is off the reference by {:.2g} of its "
                              "length, at most {}",
                              design.name, shape.name, *error, kMostOutputError));
    }
    steps.push_back(*std::move(step));
  }
  return steps;
}

std::vector<RoundCase> round_cases(const Steps& steps, const AttentionShape& shape) {
  std::vector<RoundCase> cases;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    cases.push_back({.design = kDesigns[i].name,
                     .work = steps[i]->bytes(),
                     .operations = shape.layers(),
                     .measure = [&step = *steps[i]] { return step.replay(); }});
  }
  return cases;
}

Result<std::vector<BenchRow>> measure_steps(const Steps& steps, const AttentionShape& shape,
                                            BenchGround& ground) {
  const auto probe = ground.read_probe();
  if (!probe) return tl::unexpected<Error>(probe.error());
  const std::vector<RoundCase> cases = round_cases(steps, shape);
  const std::uint32_t rounds = ground.run().repetitions;
  const auto samples = run_rounds(cases, {.rounds = shape.sweep ? (rounds + 1) / 2 : rounds,
                                          .seed = kOrderSeed,
                                          .probe = [&] { return (*probe)->measure(); }});
  std::vector<BenchRow> rows;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    BenchRow row{.suite = "attention",
                 .design = cases[i].design,
                 .shape = shape.name,
                 .threads = ground.device().info().workers};
    set_time(row, cases[i], samples[i]);
    add_rate(row, cases[i], samples[i], {.rate = "kv_gbps"});
    add_time_ratio(row, "ratio_to_contiguous", samples[i], samples[0]);
    row.figures.push_back({"kv_mib", static_cast<double>(cases[i].work) / kMiB});
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<std::vector<BenchRow>> measure_shape(const AttentionShape& shape, BenchGround& ground) {
  const auto model = make_model(shape);
  if (!model) return tl::unexpected<Error>(model.error());
  const auto pool = ground.device().allocate(MemoryPurpose::kv_pool, shape.pool_bytes());
  if (!pool) return tl::unexpected<Error>(pool.error());
  fill_kv(shape.dtype, pool->as<std::byte>());
  const auto steps = make_steps({.device = &ground.device(),
                                 .kernels = &ground.kernels(),
                                 .reference = &ground.reference(),
                                 .model = model->get(),
                                 .lengths = shape.lengths,
                                 .pool = pool->data()},
                                shape);
  if (!steps) return tl::unexpected<Error>(steps.error());
  return measure_steps(*steps, shape, ground);
}

Result<BenchReport> measure_attention(const Registry& registry, const BenchRun& run) {
  std::vector<BenchPoint> points;
  for (const AttentionShape& shape : attention_shapes(run.size)) {
    points.push_back({shape.name, shape.pool_bytes(),
                      [shape](BenchGround& ground) { return measure_shape(shape, ground); }});
  }
  return measure_points(registry, run, points);
}

}  // namespace

BenchSuite attention_suite() {
  return {.name = "attention",
          .description = "decode attention by memory layout, share of the read bandwidth",
          .cases = {},
          .measure = measure_attention};
}

}  // namespace kvrm
