// Descriptor logs as a user has them: written by a run, replayed to its output digest, printed, and
// refused where they are damaged or of something else.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "property_tests/commands/program.h"
#include "property_tests/commands/small_experiment.h"

namespace kvrm {
namespace {

ProgramResult kvrm_run(std::vector<std::string> arguments) {
  return run_program({.program = kvrm_program(), .arguments = std::move(arguments)});
}

// The small experiment with one kvrm engine of these options, whose parallel samples fork.
std::string logged_experiment(const std::string& options) {
  std::string text = small_experiment();
  const auto replace = [&text](const std::string& from, const std::string& to) {
    const std::size_t place = text.find(from);
    ASSERT_NE(place, std::string::npos) << from;
    text.replace(place, from.size(), to);
  };
  const std::size_t engines = text.find("engines:");
  text.replace(engines, text.find("budget:") - engines,
               "engines:\n  - {kind: paged}\n  - {kind: kvrm, options: {" + options + "}}\n");
  replace("requests: 12", "requests: 12\n  samples: 3");
  return text;
}

class DescriptorLog : public ::testing::Test {
 protected:
  // The log of a run of this experiment, whose output digest is kept.
  std::string write_log(const std::string& text, const std::vector<std::string>& more = {}) {
    experiment_ = folder_.write("logged.yaml", text);
    const std::string log = (folder_.path() / "steps.log").string();
    const std::string out = (folder_.path() / "out").string();
    std::vector<std::string> arguments = {"run", experiment_,        "--quiet", "--out",
                                          out,   "--descriptor-log", log};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult run = kvrm_run(std::move(arguments));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    const auto json = nlohmann::json::parse(read_file(out + "/results.json"));
    outputs_ = json["digests"]["points"][0]["outputs"];
    counters_ = json["engines"].back()["movement"];
    return log;
  }

  ProgramResult verify(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"verify", "--quiet"});
    return kvrm_run(std::move(arguments));
  }

  std::string changed(const std::string& log, const std::function<void(std::string&)>& change) {
    std::string bytes = read_file(log);
    change(bytes);
    return folder_.write("changed.log", bytes);
  }

  TemporaryFolder folder_;
  std::string experiment_;
  std::string outputs_;
  nlohmann::json counters_;
};

TEST_F(DescriptorLog, ReplaysToTheRunsDigestInEveryTransport) {
  for (const char* options : {"transport: fused", "transport: full", "transport: delta",
                              "transport: fused, compaction: {bytes_per_step: 16KiB}",
                              "transport: delta, compaction: {bytes_per_step: 16KiB}"}) {
    SCOPED_TRACE(options);
    const std::string log = write_log(logged_experiment(options));
    EXPECT_GT(counters_["forks"].get<int>(), 0);
    EXPECT_GT(counters_["copy_on_writes"].get<int>(), 0);
    const bool compacts = std::string(options).find("compaction") != std::string::npos;
    EXPECT_EQ(counters_["compacted_blocks"].get<int>() > 0, compacts);
    const ProgramResult result = verify({"--descriptor-log", log, "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
    const auto replay = nlohmann::json::parse(result.out)["replay"];
    EXPECT_EQ(replay["agrees"], true);
    EXPECT_EQ(replay["output_digest"], outputs_);
    EXPECT_EQ(replay["requests"], 12);
    EXPECT_GT(replay["steps"], 40);
  }
}

// The log's experiment has the engines that its run had, so that the first that is logged is the
// same one.
TEST_F(DescriptorLog, IsOfTheEnginesThatTheRunWasAskedFor) {
  std::string text = logged_experiment("transport: full");
  text.replace(text.find("budget:"), 0,
               "  - {kind: kvrm, label: kvrm-delta, options: {transport: delta}}\n");
  const std::string log = write_log(text, {"--engine", "kvrm-delta"});
  const ProgramResult result = verify({"--descriptor-log", log});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_NE(result.out.find("output digest " + outputs_ + ", the same"), std::string::npos)
      << result.out;
}

// Its shape has a preset's vocabulary, its requests have no tokens.
TEST_F(DescriptorLog, ReplaysAttentionOnly) {
  std::string text = logged_experiment("transport: fused");
  const std::size_t model = text.find("model:");
  text.replace(model, text.find("workload:") - model,
               "model:\n  kind: attention_only\n  preset: llama-3-8b\n  shape: {layers: 1}\n"
               "  kv_dtype: bf16\n");
  text.replace(text.find("64KiB"), 5, "1MiB");
  const std::string log = write_log(text);
  const ProgramResult result = verify({"--descriptor-log", log});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("output digest " + outputs_ + ", the same"), std::string::npos)
      << result.out;
}

TEST_F(DescriptorLog, ReplaysWhatRemapMapped) {
  std::string text = logged_experiment("transport: remap, block_tokens: 64");
  text.replace(text.find("64KiB"), 5, "16MiB");
  const std::string log = write_log(text);
  EXPECT_GT(counters_["map_calls"].get<int>(), 0);
  const ProgramResult result = verify({"--descriptor-log", log});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("output digest " + outputs_ + ", the same"), std::string::npos)
      << result.out;
}

TEST_F(DescriptorLog, DumpIsReadable) {
  const std::string log = write_log(logged_experiment("transport: fused"));
  const ProgramResult dump = verify({"--descriptor-log", log, "--dump"});
  EXPECT_EQ(dump.exit_code, 0) << dump.err;
  EXPECT_EQ(dump.out.rfind("epoch 1: ", 0), 0U) << dump.out.substr(0, 200);
  for (const char* part : {"\nslot 0: token ", "\ngroup of slot ", "\nepoch 40: "}) {
    EXPECT_NE(dump.out.find(part), std::string::npos) << part;
  }
}

TEST_F(DescriptorLog, OtherOutputsAreFound) {
  const std::string log = write_log(logged_experiment("transport: fused"));
  const ProgramResult result =
      verify({experiment_, "--set", "workload.seed=99", "--descriptor-log", log});
  EXPECT_EQ(result.exit_code, 5) << result.out << result.err;
  EXPECT_NE(result.out.find("NOT "), std::string::npos) << result.out;
}

TEST_F(DescriptorLog, LogsOfSomethingElseAreRefused) {
  const std::string log = write_log(logged_experiment("transport: fused"));
  const std::string other = folder_.write("other.yaml", logged_experiment("transport: full"));
  const ProgramResult result = verify({other, "--descriptor-log", log});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("a log of another engine, model or budget"), std::string::npos)
      << result.err;
  const ProgramResult none = verify({other, "--engine", "paged", "--descriptor-log", log});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_NE(none.err.find("no engine of this experiment has step descriptors"), std::string::npos);
}

TEST_F(DescriptorLog, DamagedLogsAreRefused) {
  const std::string log = write_log(logged_experiment("transport: fused"));
  struct Damage {
    std::function<void(std::string&)> change;
    std::string message;
  };
  const Damage cases[] = {
      {[](std::string& bytes) { bytes.resize(bytes.size() - 1); }, "cut off"},
      {[](std::string& bytes) { bytes.resize(40); }, "cut off"},
      {[](std::string& bytes) { bytes[bytes.size() / 2] ^= 1; }, "is damaged"},
      {[](std::string& bytes) { bytes[0] ^= 1; }, "not a descriptor log"},
      {[](std::string& bytes) { bytes += "more"; }, "4 bytes behind the log's end"},
      {[](std::string& bytes) { bytes.clear(); }, "cut off"},
  };
  for (const Damage& damage : cases) {
    SCOPED_TRACE(damage.message);
    const ProgramResult result =
        verify({experiment_, "--descriptor-log", changed(log, damage.change)});
    EXPECT_EQ(result.exit_code, 2) << result.out;
    EXPECT_NE(result.err.find("changed.log: byte "), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(damage.message), std::string::npos) << result.err;
  }
}

TEST_F(DescriptorLog, AskingForNothingIsAnError) {
  EXPECT_EQ(verify({}).exit_code, 2);
  EXPECT_EQ(verify({"--dump"}).exit_code, 2);
  EXPECT_EQ(verify({"--descriptor-log", (folder_.path() / "none.log").string()}).exit_code, 2);
}

TEST_F(DescriptorLog, FilesThatCannotBeWrittenEndTheRun) {
  experiment_ = folder_.write("logged.yaml", logged_experiment("transport: fused"));
  const std::string out = (folder_.path() / "out").string();
  const ProgramResult missing = kvrm_run(
      {"run", experiment_, "--quiet", "--out", out, "--descriptor-log", "/nowhere/steps.log"});
  EXPECT_EQ(missing.exit_code, 2) << missing.err;
  EXPECT_NE(missing.err.find("/nowhere/steps.log: cannot be created"), std::string::npos)
      << missing.err;
  const ProgramResult full =
      kvrm_run({"run", experiment_, "--quiet", "--out", out, "--descriptor-log", "/dev/full"});
  EXPECT_NE(full.exit_code, 0) << full.err;
  EXPECT_NE(full.err.find("/dev/full: byte "), std::string::npos) << full.err;
}

}  // namespace
}  // namespace kvrm
