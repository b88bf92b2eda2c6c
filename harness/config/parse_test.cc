#include "harness/config/parse.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "harness/base/units.h"
#include "harness/config/experiment_text.h"
#include "harness/config/test_files.h"

namespace kvrm {
namespace {

using Parse = ConfigFiles;

TEST_F(Parse, ReadsEveryKey) {
  write("model.bin", "x");
  write("tok.bin", "x");
  write("trace.csv", "x");
  write("all.yaml", R"(schema: kvrm.experiment/1
name: all
question: "every key, read: right?"
model: {kind: decoder, checkpoint: model.bin, tokenizer: tok.bin, seed: 7, weight_dtype: bf16, kv_dtype: bf16, tile_tokens: 32, split_tiles: 8}
backend: {kind: modelled, workers: 3, kernels: avx2, profile: h100}
workload:
  family: replay
  seed: 0
  requests: 0
  samples: 6
  arrivals: {kind: trace, time_multiplier: 0.5}
  prompt_tokens: {kind: quantiles, probabilities: [0, 0.5, 1], values: [1, 10, 100], scale: 2, min: 3, max: 90}
  output_tokens: {kind: trace, scale: 0.25}
  trace: {path: trace.csv, format: plain}
engines:
  - {kind: static, label: static-full, options: {attention: full, length_buckets: [64, 128]}}
  - {kind: paged, options: {block_tokens: 32, placement: address_ordered, watermark: 0.01, prefetch: run}}
  - {kind: paged_graph, options: {batch_buckets: [1, 2, 4]}}
  - {kind: paged_graph, label: paged_graph-single, options: {batch_buckets: max_batch, length_buckets: [128]}}
  - {kind: kvrm, options: {placement: extent, transport: fused, pages: base, merge: {max_gap_blocks: 2, max_group_bytes: 256KiB}, compaction: {bytes_per_step: 1MiB}, far_history: {enabled: true, window_tokens: 64, sink_tokens: 32, summaries: 8}}}
  - {kind: null}
budget: {kv_bytes: 1GiB, max_batch: 16, max_len: 128, prefill_tokens: 99}
driver: {repeats: 4, warmup: {share: 0.25}, generator_lag_budget_ms: 2.5, overlap: true, time_limit_s: 60, max_kv_bytes: 8GiB}
slo: {ttft_ms: 1, itl_ms: 2, e2e_ms: 3, spike_factor: 4}
output: {requests: none, steps: all, point_estimates: true, columns: [slots, metrics.itl_ms.p99]}
)");
  const Experiment experiment = parse(request("all.yaml"));
  EXPECT_EQ(experiment.name, "all");
  EXPECT_EQ(experiment.question, "every key, read: right?");
  ASSERT_EQ(experiment.points.size(), 1U);
  const std::string here = folder_.string();
  EXPECT_EQ(
      print(experiment.points[0]),
      fmt::format(
          "{{}}\n"
          "0 0 0 0 0 0 0 0 128 10000 1e-05 2 2 32 8 {0}/model.bin {0}/tok.bin 7\n"
          "modelled h100 3 avx2\n"
          "replay 0 0 6 [5 0 0 1 0 0 [] 0.5] [3 0 3 90 0 0 [0, 0.5, 1] [1, 10, 100] 2]"
          " [4 0 1 0 0 0 [] [] 0.25] {0}/trace.csv plain\n"
          "{{static static-full 16 0 0 0 0 [] [64, 128] 0 0 0 0 0}}"
          "{{paged paged 32 1 0.01 1 1 [] [] 0 0 0 0 0}}"
          "{{paged_graph paged_graph 16 0 0 0 1 [1, 2, 4] [] 0 0 0 0 0}}"
          "{{paged_graph paged_graph-single 16 0 0 0 1 [16] [128] 0 0 0 0 0}}"
          "{{kvrm kvrm 16 2 0 0 1 [] [] 0 2 262144 1 1048576 far 64 32 8}}"
          "{{null null 16 0 0 0 1 [] [] 0 0 0 0 0}}\n"
          "1073741824 16 128 99\n4 0.25 2.5 true 60 8589934592\n1 2 3 4\n2 0 true [\"slots\", "
          "\"metrics.itl_ms.p99\"]\n",
          here));
}

TEST_F(Parse, DefaultsAreThoseOfTheStructs) {
  write("small.yaml", kSmallExperiment);
  const Experiment experiment = parse(request("small.yaml"));
  ASSERT_EQ(experiment.points.size(), 1U);
  ExperimentPoint expected;
  expected.model.shape = {ModelKind::decoder, 2, 32, 64, 4, 2, 8, 64, 64};
  expected.model.shape.kv_dtype = DType::f16;
  expected.workload.requests = 12;
  expected.workload.prompt_tokens.kind = LengthSpec::Kind::uniform;
  expected.workload.prompt_tokens.min = 2;
  expected.workload.prompt_tokens.max = 24;
  expected.workload.output_tokens.value = 8;
  expected.budget = {64 * kKiB, 4, 64, 512};
  expected.engines = {{"static", "static", {}, expected.budget},
                      {"kvrm", "kvrm-full", {}, expected.budget}};
  expected.engines[1].options.transport = Transport::full;
  EXPECT_EQ(print(experiment.points[0]), print(expected));
  EXPECT_EQ(experiment.points[0].engines[1].budget.kv_bytes, 64 * kKiB);
}

TEST_F(Parse, ExtendsMergesMapsAndReplacesListsAndScalars) {
  write("base/base.yaml", kSmallExperiment);
  write("base/model.bin", "x");
  write("child.yaml",
        "extends: base/base.yaml\nname: child\nbudget: {max_batch: 8}\nengines: [{kind: paged}]\n"
        "workload: {arrivals: {kind: poisson, rate_per_s: 3}, output_tokens: {kind: lognormal, "
        "mean: 9, sigma: 1}}\n");
  write("grandchild.yaml", "extends: child.yaml\nname: grandchild\nmodel: {seed: 9}\n");
  const Experiment experiment = parse(request("grandchild.yaml"));
  ASSERT_EQ(experiment.points.size(), 1U);
  const ExperimentPoint& point = experiment.points[0];
  EXPECT_EQ(experiment.name, "grandchild");
  EXPECT_EQ(experiment.question, "is it read?");
  EXPECT_EQ(point.model.seed, 9U);
  EXPECT_EQ(point.model.shape.layers, 2U);
  EXPECT_EQ(point.budget.max_batch, 8U);
  EXPECT_EQ(point.budget.kv_bytes, 64 * kKiB);
  ASSERT_EQ(point.engines.size(), 1U);
  EXPECT_EQ(point.engines[0].label, "paged");
  EXPECT_EQ(point.workload.output_tokens.value, 0U)
      << "another kind takes the old kind's keys away";
  EXPECT_EQ(point.workload.output_tokens.mean, 9);
}

TEST_F(Parse, SetIsLaidOverTheFileInOrder) {
  write("small.yaml", kSmallExperiment);
  ParseRequest with_set = request("small.yaml");
  with_set.overrides = {"workload.arrivals.kind=gamma",
                        "workload.arrivals.rate_per_s=2.5",
                        "workload.arrivals.cv=4",
                        "budget.max_batch=2",
                        "budget.max_batch=3",
                        "engines.kvrm-full.options.merge.max_group_bytes=5",
                        "engines.0.options={attention: full}",
                        "model={preset: llama-3-8b, shape: {layers: 1}}"};
  with_set.overrides.emplace_back("budget.kv_bytes=1MiB");
  const Experiment experiment = parse(with_set);
  ASSERT_EQ(experiment.points.size(), 1U);
  const ExperimentPoint& point = experiment.points[0];
  EXPECT_EQ(point.workload.arrivals.kind, ArrivalSpec::Kind::gamma);
  EXPECT_EQ(point.workload.arrivals.cv, 4);
  EXPECT_EQ(point.budget.max_batch, 3U);
  EXPECT_EQ(point.engines[1].options.max_group_bytes, 5U);
  EXPECT_EQ(point.engines[0].options.attention, StaticAttention::full);
  EXPECT_EQ(point.model.shape.layers, 1U);
  EXPECT_EQ(point.model.shape.model_dim, 32U) << "the file's shape overrides the preset";
  EXPECT_EQ(point.model.shape.rope_theta, 500000.0F) << "from the preset";
}

constexpr const char* kSweep = R"(extends: small.yaml
sweep:
  - {key: workload.arrivals.rate_per_s, values: [1, 2.5]}
  - name: part
    cases:
      decoder: {model: {seed: 5}}
      attention: {model: {kind: attention_only, shape: {head_dim: 16}}, engines: [{kind: paged}]}
workload: {arrivals: {kind: poisson, rate_per_s: 9}}
)";

TEST_F(Parse, SweepIsTheProductFirstAxisSlowest) {
  write("small.yaml", kSmallExperiment);
  write("sweep.yaml", kSweep);
  const Experiment experiment = parse(request("sweep.yaml"));
  std::vector<std::map<std::string, std::string>> axes;
  for (const ExperimentPoint& point : experiment.points) axes.push_back(point.axes);
  using Axes = std::map<std::string, std::string>;
  const std::string rate = "workload.arrivals.rate_per_s";
  EXPECT_EQ(axes, (std::vector<Axes>{{{rate, "1"}, {"part", "decoder"}},
                                     {{rate, "1"}, {"part", "attention"}},
                                     {{rate, "2.5"}, {"part", "decoder"}},
                                     {{rate, "2.5"}, {"part", "attention"}}}));
  EXPECT_EQ(experiment.axes, (std::vector<std::string>{rate, "part"}));
  ASSERT_EQ(experiment.points.size(), 4U);
  EXPECT_EQ(experiment.points[2].workload.arrivals.rate_per_s, 2.5);
  EXPECT_EQ(experiment.points[2].model.seed, 5U);
  EXPECT_EQ(experiment.points[3].model.shape.kind, ModelKind::attention_only);
  EXPECT_EQ(experiment.points[3].model.shape.head_dim, 16U);
  EXPECT_EQ(experiment.points[3].engines[0].kind, "paged");
}

TEST_F(Parse, SetBeatsTheCasesOfASweep) {
  write("small.yaml", kSmallExperiment);
  write("sweep.yaml", kSweep);
  ParseRequest with_set = request("sweep.yaml");
  with_set.overrides = {"model={seed: 77}", "workload.requests=3",
                        "sweep.part.cases.attention.budget={max_batch: 2}"};
  const Experiment experiment = parse(with_set);
  ASSERT_EQ(experiment.points.size(), 4U);
  for (const ExperimentPoint& point : experiment.points) {
    EXPECT_EQ(point.model.seed, 77U);
    EXPECT_EQ(point.workload.requests, 3U);
  }
  EXPECT_EQ(experiment.points[0].budget.max_batch, 4U);
  EXPECT_EQ(experiment.points[1].budget.max_batch, 2U);
  write("resolved.yaml", experiment.resolved_yaml);
  EXPECT_EQ(print(parse(request("resolved.yaml"))), print(experiment));
}

TEST_F(Parse, OnlyEnginesKeepsKindsAndLabels) {
  write("small.yaml", kSmallExperiment);
  write("sweep.yaml", kSweep);
  ParseRequest only = request("sweep.yaml");
  only.only_engines = {"kvrm-full"};
  Experiment experiment = parse(only);
  ASSERT_EQ(experiment.points.size(), 2U) << "the points of the other case have no such engine";
  for (const ExperimentPoint& point : experiment.points) {
    ASSERT_EQ(point.engines.size(), 1U);
    EXPECT_EQ(point.engines[0].label, "kvrm-full");
  }
  only.only_engines = {"kvrm", "paged"};
  experiment = parse(only);
  EXPECT_EQ(experiment.points.size(), 4U);
}

// Also where an axis sets an engine by its index, and where points have none of those engines.
TEST_F(Parse, ResolvedYamlKeepsTheEnginesThatWereAskedFor) {
  write("small.yaml", kSmallExperiment);
  write("sweep.yaml", kSweep);
  write("index.yaml",
        "extends: small.yaml\n"
        "sweep: [{key: engines.1.options.merge.max_group_bytes, values: [0, 4096]}]\n");
  for (const char* file : {"sweep.yaml", "index.yaml"}) {
    SCOPED_TRACE(file);
    ParseRequest only = request(file);
    only.only_engines = {"kvrm"};
    const Experiment experiment = parse(only);
    ASSERT_EQ(experiment.points.size(), 2U);
    EXPECT_EQ(experiment.points[1].engines.size(), 1U);
    write("resolved.yaml", experiment.resolved_yaml);
    const Experiment again = parse(request("resolved.yaml"));
    EXPECT_EQ(print(again), print(experiment));
    EXPECT_EQ(again.resolved_yaml, experiment.resolved_yaml);
    ParseRequest other = request("resolved.yaml");
    other.only_engines = {"static"};
    EXPECT_EQ(parse(other).points[0].engines[0].kind, "static") << "--engine beats the file";
  }
}

TEST_F(Parse, ResolvedYamlIsTheSameExperimentWithDefaultsWrittenOut) {
  write("small.yaml", kSmallExperiment);
  write("sweep.yaml", kSweep);
  write("model.bin", "x");
  write("preset.yaml",
        "extends: small.yaml\nname: \"null\"\nquestion: \"a: 'b' \\\"c\\\" \\\\ #d\"\n"
        "model: {preset: llama-3-8b}\nbudget: {kv_bytes: 1 GiB}\n"
        "workload: {family: \"12\", output_tokens: {kind: lognormal, mean: 9, sigma: 1}}\n"
        "engines: [{kind: null}, {kind: paged_graph, options: {batch_buckets: max_batch}}]\n");
  for (const char* file : {"small.yaml", "sweep.yaml", "preset.yaml"}) {
    SCOPED_TRACE(file);
    const Experiment first = parse(request(file));
    write("elsewhere/resolved.yaml", first.resolved_yaml);
    const Experiment second = parse(request("elsewhere/resolved.yaml"));
    EXPECT_EQ(print(first), print(second));
    EXPECT_EQ(first.resolved_yaml, second.resolved_yaml);
    EXPECT_NE(first.resolved_yaml.find("spike_factor: 5"), std::string::npos);
    EXPECT_EQ(first.resolved_yaml.find("extends"), std::string::npos);
  }
  const Experiment swept = parse(request("sweep.yaml"));
  EXPECT_NE(swept.resolved_yaml.find("sweep:"), std::string::npos);
}

TEST_F(Parse, ResolvedYamlHasAbsoluteFileNamesAndTheOverrides) {
  write("deep/model.bin", "x");
  write("deep/base.yaml", kSmallExperiment);
  write("child.yaml", "extends: deep/base.yaml\nmodel: {tokenizer: deep/model.bin}\n");
  ParseRequest with_set = request("child.yaml");
  with_set.overrides = {"driver.repeats=17"};
  const Experiment experiment = parse(with_set);
  EXPECT_NE(experiment.resolved_yaml.find("tokenizer: " + folder_.string() + "/deep/model.bin"),
            std::string::npos)
      << experiment.resolved_yaml;
  EXPECT_NE(experiment.resolved_yaml.find("repeats: 17"), std::string::npos);
}

TEST_F(Parse, DataDirectoryIsTheEnvironmentsOrBesideTheWorkingDirectory) {
  write("shared/data/t.csv", "x");
  write("elsewhere/t.csv", "x");
  write("work/trace.yaml",
        std::string(kSmallExperiment) + "sweep: [{key: workload.seed, values: [1]}]\n");
  std::filesystem::current_path("work");
  ParseRequest with_trace = request("trace.yaml");
  with_trace.overrides = {"workload.output_tokens={kind: trace}",
                          "workload.trace={path: ${KVRM_DATA_DIR}/t.csv, format: plain}"};
  unsetenv("KVRM_DATA_DIR");
  Experiment experiment = parse(with_trace);
  EXPECT_EQ(experiment.points.at(0).workload.trace.path, (folder_ / "shared/data/t.csv").string());
  setenv("KVRM_DATA_DIR", (folder_ / "elsewhere").c_str(), 1);
  experiment = parse(with_trace);
  unsetenv("KVRM_DATA_DIR");
  EXPECT_EQ(experiment.points.at(0).workload.trace.path, (folder_ / "elsewhere/t.csv").string());
}

TEST_F(Parse, TextIsReadInsteadOfTheFile) {
  ParseRequest from_text = request("nowhere");
  from_text.text = kSmallExperiment;
  EXPECT_EQ(parse(from_text).name, "small");
}

}  // namespace
}  // namespace kvrm
