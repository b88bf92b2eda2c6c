// Every shipped experiment is valid, and its requests are the same each time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "harness/config/parse.h"
#include "harness/metrics/columns.h"
#include "workloads/generators/open_workload.h"

namespace kvrm {
namespace {

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> files;
  const std::filesystem::path path =
      std::string(KVRM_SOURCE_DIR) + "/workloads/experiments" + folder;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path().string());
  }
  std::ranges::sort(files);
  return files;
}

std::vector<std::string> shipped_files() {
  std::vector<std::string> files = files_in("");
  const std::vector<std::string> ablations = files_in("/ablations");
  files.insert(files.end(), ablations.begin(), ablations.end());
  return files;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const std::string& file : files_in(folder))
    names.push_back(std::filesystem::path(file).stem().string());
  return names;
}

Result<Experiment> parse(const std::string& file) {
  ParseRequest request;
  request.file = file;
  request.engine_kinds = {"static", "paged", "paged_graph", "kvrm", "null"};
  request.backend_kinds = {"cpu"};
  request.metric_columns = metric_column_names();
  return parse_experiment(request);
}

// Digest and number of the requests of a workload, and how many could never fit.
struct Facts {
  std::uint64_t digest = 0;
  std::uint64_t requests = 0;
  std::uint64_t too_long = 0;
  friend bool operator==(const Facts&, const Facts&) = default;
};

Facts facts_of(const ExperimentPoint& point) {
  Facts facts;
  Result<std::unique_ptr<RequestStream>> stream = open_workload(point.workload);
  EXPECT_TRUE(stream.has_value()) << stream.error().message;
  while (stream) {
    const Result<std::optional<Request>> request = (*stream)->next();
    EXPECT_TRUE(request.has_value()) << request.error().message;
    if (!request || !*request) break;
    facts.digest = fold_request(facts.digest, **request);
    ++facts.requests;
    if ((*request)->prompt_tokens + (*request)->output_tokens > point.budget.max_len)
      ++facts.too_long;
  }
  return facts;
}

bool needs_trace(const std::string& file) { return file.find("-trace.yaml") != std::string::npos; }

bool has_data() {
  const char* const given = std::getenv("KVRM_DATA_DIR");
  return std::filesystem::exists(std::string(given != nullptr ? given : "../shared/data") +
                                 "/traces");
}

class ShippedExperiment : public ::testing::TestWithParam<std::string> {};

TEST_P(ShippedExperiment, IsValidAndItsRequestsFitAndRepeat) {
  const Result<Experiment> experiment = parse(GetParam());
  if (needs_trace(GetParam()) && !has_data()) {
    ASSERT_FALSE(experiment.has_value());
    EXPECT_NE(experiment.error().message.find("workload.trace.path: found"), std::string::npos);
    return;
  }
  ASSERT_TRUE(experiment.has_value()) << experiment.error().message;
  EXPECT_EQ(experiment->name, std::filesystem::path(GetParam()).stem().string());
  EXPECT_EQ(experiment->question.back(), '?');
  for (const ExperimentPoint& point : experiment->points) {
    const Facts facts = facts_of(point);
    EXPECT_EQ(facts, facts_of(point));
    EXPECT_GE(facts.requests, 12U);
    EXPECT_EQ(facts.too_long, 0U);
  }
}

std::string test_name(const ::testing::TestParamInfo<std::string>& shipped) {
  std::string name = std::filesystem::path(shipped.param).stem().string();
  std::ranges::replace(name, '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, ShippedExperiment, ::testing::ValuesIn(shipped_files()), test_name);

TEST(ShippedExperiments, CoverEveryFamily) {
  const std::vector<std::string> expected = {"azure-conv-trace",
                                             "bursty",
                                             "long-context",
                                             "mixed-length",
                                             "mooncake-trace",
                                             "null",
                                             "padding",
                                             "quickstart",
                                             "replay-azure-conv",
                                             "replay-mooncake-shape",
                                             "shared-prefix",
                                             "short-chat",
                                             "uniform"};
  EXPECT_EQ(names_in(""), expected);
}

TEST(ShippedExperiments, CoverEveryAblation) {
  const std::vector<std::string> expected = {"batch",   "block-size",  "burstiness", "churn",
                                             "context", "far-history", "merging",    "occupancy",
                                             "overlap", "placement",   "pressure",   "transport"};
  EXPECT_EQ(names_in("/ablations"), expected);
}

// One table answers the question.
TEST(ShippedExperiments, EveryAblationNamesTheColumnsOfItsAnswer) {
  for (const std::string& file : files_in("/ablations")) {
    const Result<Experiment> experiment = parse(file);
    ASSERT_TRUE(experiment.has_value()) << experiment.error().message;
    for (const ExperimentPoint& point : experiment->points) {
      EXPECT_GE(point.output.columns.size(), 4U) << file;
      EXPECT_GE(point.engines.size(), 2U) << file;
    }
  }
}

TEST(ShippedExperiments, QuickstartGivesAnEngineThatReservesMaxLenFewerSlots) {
  const Result<Experiment> experiment =
      parse(std::string(KVRM_SOURCE_DIR) + "/workloads/experiments/quickstart.yaml");
  ASSERT_TRUE(experiment.has_value()) << experiment.error().message;
  ASSERT_EQ(experiment->points.size(), 2U);
  for (const ExperimentPoint& point : experiment->points) {
    const std::uint64_t slot_bytes = point.model.shape.kv_bytes_per_token() * point.budget.max_len;
    EXPECT_LT(point.budget.kv_bytes / slot_bytes, point.budget.max_batch) << point.axes.at("part");
  }
}

}  // namespace
}  // namespace kvrm
