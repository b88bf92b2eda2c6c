// Every shipped experiment in small: a few requests at the ends of its sweep, on every engine. What
// must hold wherever a graph is replayed holds there.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "harness/config/parse.h"
#include "harness/driver/registry.h"
#include "harness/driver/run_experiment.h"
#include "harness/metrics/columns.h"
#include "property_tests/commands/program.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kRequests = 3;
constexpr std::uint32_t kPromptTokens = 400;
constexpr std::uint32_t kOutputTokens = 24;
constexpr std::uint64_t kMemory = 2ULL << 30U;

const Registry& registry() {
  static const Registry made = make_registry();
  return made;
}

std::vector<std::string> shipped_files() {
  std::vector<std::string> files;
  const std::filesystem::path root = std::string(KVRM_SOURCE_DIR) + "/workloads/experiments";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const bool part = entry.path().parent_path().filename() == "common";
    if (entry.path().extension() == ".yaml" && !part) files.push_back(entry.path().string());
  }
  std::ranges::sort(files);
  return files;
}

Result<Experiment> parse(const std::string& file) {
  ParseRequest request;
  request.file = file;
  for (const EngineEntry& entry : registry().engines) request.engine_kinds.push_back(entry.kind);
  for (const BackendEntry& entry : registry().backends) request.backend_kinds.push_back(entry.kind);
  request.metric_columns = metric_column_names();
  return parse_experiment(request);
}

// The ends of a sweep stand for what lies between them.
void keep_ends(Experiment& experiment) {
  if (experiment.points.size() > 2) {
    experiment.points.erase(experiment.points.begin() + 1, experiment.points.end() - 1);
  }
}

void shorten(LengthSpec& length, std::uint32_t most) {
  length.value = std::min(length.value, most);
  length.min = std::min(length.min, most);
  length.max = length.max == 0 ? most : std::min(length.max, most);
  length.mean = std::min<double>(length.mean, most);
  length.scale /= 8;
}

// A late generator is no matter here.
void make_small(ExperimentPoint& point) {
  const std::uint64_t all = point.workload.requests;
  point.workload.requests = all == 0 ? kRequests : std::min(all, kRequests);
  shorten(point.workload.prompt_tokens, kPromptTokens);
  shorten(point.workload.output_tokens, kOutputTokens);
  point.driver.repeats = 1;
  point.driver.warmup_share = 0.34;  // one request
  point.driver.generator_lag_budget_ms = 1e9;
}

bool is_merged_whole(const EngineOptions& options) {
  return options.max_gap_blocks == 0 && options.max_group_bytes == 0;
}

void expect_fixed_launch(const EngineResult& engine, const EngineSpec& spec) {
  SCOPED_TRACE(engine.info.label);
  EXPECT_TRUE(engine.status == RunStatus::verified || engine.status == RunStatus::approximate ||
              engine.status == RunStatus::unchecked)
      << run_status_name(engine.status) << ": " << engine.status_reason;
  EXPECT_EQ(engine.captures_after_warmup, 0U);
  EXPECT_EQ(engine.launch_hash_changes, 0U);
  EXPECT_EQ(engine.counters.fallbacks, 0U);
  if (engine.info.kind != "kvrm") return;
  EXPECT_EQ(engine.counters.replays, engine.steps);
  EXPECT_EQ(engine.counters.commits, engine.steps);
  if (is_merged_whole(spec.options)) {
    EXPECT_EQ(engine.counters.groups, engine.counters.groups_minimum);
  }
}

class ShippedInSmall : public ::testing::TestWithParam<std::string> {};

TEST_P(ShippedInSmall, IsVerifiedAndLaunchesAreFixed) {
  Result<Experiment> experiment = parse(GetParam());
  if (!experiment && GetParam().find("-trace.yaml") != std::string::npos) {
    GTEST_SKIP() << "SKIPPED: needs the real traces, see KVRM_DATA_DIR: "
                 << experiment.error().message;
  }
  ASSERT_TRUE(experiment.has_value()) << experiment.error().message;
  keep_ends(*experiment);
  for (ExperimentPoint& point : experiment->points) make_small(point);
  RunOptions options;
  options.available_memory_bytes = kMemory;
  options.samples = {.longest = 0, .preempted = 1, .random = 1};
  const Result<ExperimentResult> result = run_experiment(*experiment, registry(), options);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  ASSERT_FALSE(result->engines.empty());
  EXPECT_LE(result->skipped.size(), 1U);
  for (const EngineResult& engine : result->engines) {
    const auto point = std::ranges::find(experiment->points, engine.point, &ExperimentPoint::axes);
    ASSERT_NE(point, experiment->points.end());
    const auto spec = std::ranges::find(point->engines, engine.info.label, &EngineSpec::label);
    ASSERT_NE(spec, point->engines.end());
    expect_fixed_launch(engine, *spec);
  }
}

std::string test_name(const ::testing::TestParamInfo<std::string>& shipped) {
  std::string name = std::filesystem::path(shipped.param).stem().string();
  std::ranges::replace(name, '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, ShippedInSmall, ::testing::ValuesIn(shipped_files()), test_name);

}  // namespace
}  // namespace kvrm
