// Bad input: one clear message with its place, the right exit code, and nothing written (DESIGN
// 18).
#include <gtest/gtest.h>

#include "property_tests/commands/program.h"
#include "property_tests/commands/small_experiment.h"

namespace kvrm {
namespace {

struct ErrorCase {
  std::string title;
  std::vector<std::string> arguments;  // "@out" stands for a results directory
  int exit_code = 2;
  std::vector<std::string> expected;  // parts of the message
};

void expect_error(const ErrorCase& error, const TemporaryFolder& folder) {
  SCOPED_TRACE(error.title);
  const std::string out = (folder.path() / "out").string();
  std::vector<std::string> arguments = error.arguments;
  for (std::string& argument : arguments) {
    if (argument == "@out") argument = out;
  }
  const ProgramResult result = run_program({.program = kvrm_program(), .arguments = arguments});
  EXPECT_EQ(result.exit_code, error.exit_code) << result.err;
  for (const std::string& part : error.expected) {
    EXPECT_NE(result.err.find(part), std::string::npos)
        << "missing \"" << part << "\" in: " << result.err;
  }
  EXPECT_EQ(result.out, "");
  EXPECT_FALSE(std::filesystem::exists(out + "/results.json"));
}

std::string replaced(const std::string& from, const std::string& to) {
  std::string text = small_experiment();
  const std::size_t place = text.find(from);
  EXPECT_NE(place, std::string::npos) << from;
  return text.replace(place, from.size(), to);
}

TEST(Errors, Experiments) {
  const TemporaryFolder folder;
  const std::string good = folder.write("good.yaml", small_experiment());
  const auto run = [](const std::string& file) {
    return std::vector<std::string>{"run", file, "--out", "@out"};
  };
  const std::vector<ErrorCase> cases = {
      {"missing file", run("nowhere.yaml"), 2, {"error: nowhere.yaml"}},
      {"folder", run(folder.path().string()), 2, {folder.path().string()}},
      {"empty", run(folder.write("empty.yaml", "")), 2, {"empty.yaml"}},
      {"binary",
       run(folder.write("binary.yaml", std::string("\x7f"
                                                   "ELF\0\0\1\2",
                                                   8))),
       2,
       {"binary.yaml"}},
      {"truncated",
       run(folder.write("truncated.yaml", small_experiment().substr(0, 170))),
       2,
       {"truncated.yaml:"}},
      {"unknown key",
       run(folder.write("unknown.yaml", replaced("requests: 12", "request: 12"))),
       2,
       {"unknown.yaml:10:3: workload.request", "requests"}},
      {"wrong type",
       run(folder.write("type.yaml", replaced("requests: 12", "requests: many"))),
       2,
       {"type.yaml:10:13: workload.requests", "many"}},
      {"negative length",
       run(folder.write("negative.yaml", replaced("min: 2, max: 24", "min: -2, max: 24"))),
       2,
       {"negative.yaml:12:39: workload.prompt_tokens.min", "-2"}},
      {"unknown engine",
       run(folder.write("engine.yaml", replaced("kind: paged}", "kind: pagd}"))),
       2,
       {"engine.yaml:17:12: engines.2.kind", "pagd", "paged"}},
      {"foreign option",
       run(folder.write("option.yaml", replaced("attention: full", "transport: full"))),
       2,
       {"option.yaml:16:", "transport", "kvrm"}},
      {"budget below one history",
       run(folder.write("budget.yaml", replaced("64KiB", "1KiB"))),
       2,
       {"kv_bytes"}},
      {"missing value of --set",
       {"run", good, "--out", "@out", "--set", "workload.requests"},
       2,
       {"--set"}},
      {"bad key of --set",
       {"run", good, "--out", "@out", "--set", "workload.request=1"},
       2,
       {"workload.request"}},
      {"unknown engine label",
       {"run", good, "--out", "@out", "--engine", "kvmr"},
       2,
       {"kvmr", "kvrm"}},
      {"unknown kernel target",
       {"run", good, "--out", "@out", "--set", "backend.kernels=neon"},
       2,
       {"neon", "reference"}},
      {"no such command", {"rnu", good}, 2, {"rnu", "run"}},
      {"no argument", {"run"}, 2, {"experiment"}},
  };
  for (const ErrorCase& error : cases) expect_error(error, folder);
}

TEST(Errors, BatchTooLargeForMemoryIsNamedAndNothingRuns) {
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "out").string();
  const ProgramResult result =
      run_program({.program = kvrm_program(),
                   .arguments = {"run", folder.write("good.yaml", small_experiment()), "--out", out,
                                 "--set", "budget.kv_bytes=4096GiB"}});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_NE((result.out + result.err).find("memory"), std::string::npos)
      << result.out << result.err;
}

TEST(Errors, UnwritableOutput) {
  const TemporaryFolder folder;
  const std::string good = folder.write("good.yaml", small_experiment());
  const std::string blocked = folder.write("file", "not a folder") + "/out";
  const ProgramResult result =
      run_program({.program = kvrm_program(), .arguments = {"run", good, "--out", blocked}});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_NE(result.err.find(blocked), std::string::npos) << result.err;
}

TEST(Errors, Traces) {
  const TemporaryFolder folder;
  const std::string header = "arrival_s,prompt_tokens,output_tokens\n";
  const auto trace = [](const std::string& file) {
    return std::vector<std::string>{"trace", file};
  };
  const std::vector<ErrorCase> cases = {
      {"missing", trace("nowhere.csv"), 2, {"nowhere.csv"}},
      {"empty", trace(folder.write("empty.csv", "")), 2, {"empty.csv"}},
      {"binary", trace(folder.write("binary.csv", std::string("\0\1\2\3", 4))), 2, {"binary.csv"}},
      {"broken row",
       trace(folder.write("row.csv", header + "0,5,5\n1,x,5\n")),
       2,
       {"row.csv:3:", "prompt_tokens", "x"}},
      {"short row", trace(folder.write("short.csv", header + "0,5\n")), 2, {"short.csv:2:"}},
      {"negative",
       trace(folder.write("negative.csv", header + "0,-5,5\n")),
       2,
       {"negative.csv:2:", "-5"}},
      {"backwards", trace(folder.write("back.csv", header + "2,5,5\n1,5,5\n")), 2, {"back.csv:3:"}},
  };
  for (const ErrorCase& error : cases) expect_error(error, folder);
}

TEST(Errors, Checkpoints) {
  const TemporaryFolder folder;
  const std::string header("\x40\0\0\0\xac\0\0\0\5\0\0\0\x8\0\0\0\4\0\0\0\0\2\0\0\0\2\0\0", 28);
  const std::string prompts =
      folder.write("p.jsonl", "{\"id\": 0, \"prompt_tokens\": [1], \"steps\": 4}\n");
  const auto generate = [&](const std::string& model) {
    return std::vector<std::string>{"generate", "--model", model, "--prompts", prompts};
  };
  std::string uneven = header;
  uneven[12] = 7;  // seven heads do not divide 64
  const std::vector<ErrorCase> cases = {
      {"missing", generate("nowhere.bin"), 2, {"nowhere.bin"}},
      {"empty", generate(folder.write("empty.bin", "")), 2, {"empty.bin"}},
      {"truncated",
       generate(folder.write("short.bin", header + std::string(1000, '\0'))),
       2,
       {"short.bin", "1028"}},
      {"nonsense header",
       generate(folder.write("bad.bin", std::string(64, '\xff'))),
       2,
       {"bad.bin"}},
      {"heads that do not divide",
       generate(folder.write("heads.bin", uneven + std::string(1000, '\0'))),
       2,
       {"heads.bin", "head"}},
  };
  for (const ErrorCase& error : cases) expect_error(error, folder);
}

}  // namespace
}  // namespace kvrm
