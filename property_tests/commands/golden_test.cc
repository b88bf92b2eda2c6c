// The real model: every engine gives llama2.c's own tokens for every golden prompt, in f32 and f16,
// and tells the story.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "property_tests/commands/program.h"

namespace kvrm {
namespace {

using Outputs = std::map<int, std::vector<int>>;

Outputs read_outputs(const std::string& text) {
  Outputs outputs;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    outputs[json["id"].get<int>()] = json["output_tokens"].get<std::vector<int>>();
  }
  return outputs;
}

class Golden : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(Golden, TokensOfAllPrompts) {
  const auto data = data_folder();
  if (data.empty()) GTEST_SKIP() << "no data: set KVRM_DATA_DIR to check the golden tokens";
  const auto& [engine, dtype] = GetParam();
  const std::string golden = (data / "golden/stories260K.jsonl").string();
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "out.jsonl").string();
  const ProgramResult result = run_program(
      {.program = kvrm_program(),
       .arguments = {"generate", "--model", (data / "model/stories260K.bin").string(), "--prompts",
                     golden, "--engine", engine, "--kv-dtype", dtype, "--out", out}});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Outputs expected = read_outputs(read_file(golden));
  EXPECT_EQ(expected.size(), 20U);
  EXPECT_EQ(read_outputs(read_file(out)), expected);
}

INSTANTIATE_TEST_SUITE_P(EveryEngine, Golden,
                         testing::Combine(testing::Values("static", "paged", "paged_graph", "kvrm"),
                                          testing::Values("f32", "f16")),
                         [](const auto& test) {
                           return std::get<0>(test.param) + "_" + std::get<1>(test.param);
                         });

TEST(Generate, OptionsReachTheEngine) {
  const auto data = data_folder();
  if (data.empty()) GTEST_SKIP() << "no data: set KVRM_DATA_DIR to check the golden tokens";
  const std::string golden = (data / "golden/stories260K.jsonl").string();
  const ProgramResult result =
      run_program({.program = kvrm_program(),
                   .arguments = {"generate", "--model", (data / "model/stories260K.bin").string(),
                                 "--prompts", golden, "--engine", "kvrm", "--set",
                                 "engine.transport=full", "--set", "engine.block_tokens=32"}});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(read_outputs(result.out), read_outputs(read_file(golden)));
  const ProgramResult wrong = run_program(
      {.program = kvrm_program(),
       .arguments = {"generate", "--model", (data / "model/stories260K.bin").string(), "--prompts",
                     golden, "--engine", "static", "--set", "engine.transport=full"}});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.err.find("transport"), std::string::npos) << wrong.err;
}

TEST(Generate, TellsTheStory) {
  const auto data = data_folder();
  if (data.empty()) GTEST_SKIP() << "no data: set KVRM_DATA_DIR to read the story";
  const ProgramResult result =
      run_program({.program = kvrm_program(),
                   .arguments = {"generate", "--model", (data / "model/stories260K.bin").string(),
                                 "--tokenizer", (data / "model/tok512.bin").string(), "--prompt",
                                 "Once upon a time"}});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out.rfind("Once upon a time, there was a little girl named Lily.", 0), 0U)
      << result.out;
}

}  // namespace
}  // namespace kvrm
