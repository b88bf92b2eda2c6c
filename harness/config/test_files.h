// Files and requests for the tests of this folder. No part of the library.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "harness/config/parse.h"

namespace kvrm {

// A folder of its own for each test. The test runs inside it, so that messages name files shortly.
class ConfigFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("kvrm_" + std::string(info->test_suite_name()) + "_" + info->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    started_in_ = std::filesystem::current_path();
    std::filesystem::current_path(folder_);
  }
  void TearDown() override {
    std::filesystem::current_path(started_in_);
    std::filesystem::remove_all(folder_);
  }

  static void write(const std::string& name, const std::string& text) {
    if (std::filesystem::path(name).has_parent_path()) {
      std::filesystem::create_directories(std::filesystem::path(name).parent_path());
    }
    std::ofstream(name, std::ios::binary) << text;
  }

  static ParseRequest request(const std::string& file) {
    ParseRequest request;
    request.file = file;
    request.engine_kinds = {"static", "paged", "paged_graph", "kvrm", "null"};
    request.backend_kinds = {"cpu", "modelled"};
    request.metric_columns = {"metrics.itl_ms.p50", "metrics.itl_ms.p99", "slots"};
    return request;
  }

  // The experiment, or a failed test and an empty one.
  static Experiment parse(const ParseRequest& request) {
    Result<Experiment> experiment = parse_experiment(request);
    EXPECT_TRUE(experiment.has_value()) << experiment.error().message;
    return experiment ? std::move(*experiment) : Experiment{};
  }

  // What is wrong with the experiment.
  static std::string message_of(const ParseRequest& request) {
    const Result<Experiment> experiment = parse_experiment(request);
    if (experiment) return "no error";
    EXPECT_EQ(experiment.error().code, ExitCode::bad_input);
    return experiment.error().message;
  }

  // @FOLDER@ in an expected message stands for the test's folder.
  std::string with_folder(std::string message) const {
    const std::size_t at = message.find("@FOLDER@");
    return at == std::string::npos ? message : message.replace(at, 8, folder_.string());
  }

  std::filesystem::path folder_;
  std::filesystem::path started_in_;
};

// Valid, and short; line and column of each key matter to the tests of errors.
inline constexpr const char* kSmallExperiment = R"(schema: kvrm.experiment/1
name: small
question: is it read?
model:
  shape: {layers: 2, model_dim: 32, hidden_dim: 64, query_heads: 4, kv_heads: 2, head_dim: 8, vocabulary: 64}
  kv_dtype: f16
workload:
  requests: 12
  prompt_tokens: {kind: uniform, min: 2, max: 24}
  output_tokens: {kind: fixed, value: 8}
engines:
  - {kind: static}
  - {kind: kvrm, label: kvrm-full, options: {transport: full}}
budget: {kv_bytes: 64KiB, max_batch: 4, max_len: 64}
)";

}  // namespace kvrm
