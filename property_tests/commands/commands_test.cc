// The commands as a user sees them: help, version, a whole run with its files, verification, and
// the planted fault.
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "harness/trace/trace_range.h"
#include "property_tests/commands/program.h"
#include "property_tests/commands/small_experiment.h"

namespace kvrm {
namespace {

ProgramResult kvrm_run(std::vector<std::string> arguments) {
  return run_program({.program = kvrm_program(), .arguments = std::move(arguments)});
}

TEST(Commands, VersionGivesTagAndCommit) {
  const ProgramResult result = kvrm_run({"--version"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out.rfind("kvrm ", 0), 0U) << result.out;
  EXPECT_NE(result.out.find("tag "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("commit "), std::string::npos) << result.out;
}

TEST(Commands, HelpOnEachNamesItsArguments) {
  const ProgramResult all = kvrm_run({"--help"});
  EXPECT_EQ(all.exit_code, 0);
  for (const char* command : {"run", "verify", "generate", "trace", "doctor"}) {
    EXPECT_NE(all.out.find(command), std::string::npos) << command;
    const ProgramResult one = kvrm_run({command, "--help"});
    EXPECT_EQ(one.exit_code, 0) << command;
    EXPECT_NE(one.out.find("Usage: kvrm " + std::string(command)), std::string::npos) << one.out;
  }
}

// Every results file that a command wrote must satisfy the published schema.
void expect_valid_results(const std::string& folder) {
  const ProgramResult result = run_program({.program = KVRM_SOURCE_DIR "/reports/validate_results",
                                            .arguments = {folder + "/results.json"}});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
}

TEST(Commands, RunWritesEveryFileAndOnlyVerifiedLatencies) {
  const TemporaryFolder folder;
  const std::string file = folder.write("small.yaml", small_experiment());
  const std::string out = (folder.path() / "out").string();
  const ProgramResult result = kvrm_run({"run", file, "--out", out});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* name : {"results.json", "requests.csv", "steps.csv", "experiment.yaml",
                           "environment.json", "summary.md"}) {
    EXPECT_GT(read_file(out + "/" + name).size(), 10U) << name;
  }
  const auto json = nlohmann::json::parse(read_file(out + "/results.json"));
  EXPECT_EQ(json["schema"], "kvrm.results/1");
  ASSERT_EQ(json["engines"].size(), 6U);
  for (const auto& engine : json["engines"]) {
    EXPECT_EQ(engine["status"], "verified") << engine.dump();
    EXPECT_EQ(engine["requests"]["finished"], engine["requests"]["arrived"]);
    EXPECT_GT(engine["metrics"]["output_tokens_per_s"]["value"].get<double>(), 0);
  }
  EXPECT_NE(result.out.find("kvrm-full"), std::string::npos) << result.out;
  expect_valid_results(out);
}

TEST(Commands, OverlapIsOneSwitchForEveryEngine) {
  const TemporaryFolder folder;
  const std::string file = folder.write("small.yaml", small_experiment());
  const auto run = [&](const std::string& overlap) {
    const std::string out = (folder.path() / overlap).string();
    const ProgramResult result =
        kvrm_run({"run", file, "--out", out, "--set", "driver.overlap=" + overlap});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    expect_valid_results(out);
    return nlohmann::json::parse(read_file(out + "/results.json"));
  };
  const auto plain = run("false");
  const auto overlapped = run("true");
  EXPECT_EQ(plain["digests"]["outputs"], overlapped["digests"]["outputs"]);
  for (std::size_t i = 0; i < overlapped["engines"].size(); ++i) {
    const auto& engine = overlapped["engines"][i];
    EXPECT_EQ(engine["status"], "verified") << engine.dump();
    EXPECT_GT(engine["scheduling"]["wasted_rows"].get<int>(), 0) << engine.dump();
    // How much of it, and whether any at all, depends on when the system runs whom.
    EXPECT_GE(engine["phases"]["hidden_host_ns"].get<int>(), 0) << engine.dump();
    EXPECT_EQ(plain["engines"][i]["scheduling"]["wasted_rows"], 0);
    EXPECT_EQ(plain["engines"][i]["phases"]["hidden_host_ns"], 0);
  }
}

TEST(Commands, RunAgainFromTheResolvedExperimentServesTheSameWorkload) {
  const TemporaryFolder folder;
  const std::string first = (folder.path() / "first").string();
  const std::string second = (folder.path() / "second").string();
  ASSERT_EQ(kvrm_run({"run", folder.write("small.yaml", small_experiment()), "--out", first,
                      "--repeats", "1"})
                .exit_code,
            0);
  ASSERT_EQ(kvrm_run({"run", first + "/experiment.yaml", "--out", second}).exit_code, 0);
  const auto a = nlohmann::json::parse(read_file(first + "/results.json"));
  const auto b = nlohmann::json::parse(read_file(second + "/results.json"));
  EXPECT_EQ(a["digests"]["points"], b["digests"]["points"]);
  EXPECT_EQ(b["engines"].size(), 6U);
}

TEST(Commands, JsonIsAllThereIsOnStandardOutput) {
  const TemporaryFolder folder;
  const ProgramResult result =
      kvrm_run({"run", folder.write("small.yaml", small_experiment()), "--json", "--repeats", "1",
                "--out", (folder.path() / "out").string()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(nlohmann::json::accept(result.out)) << result.out.substr(0, 200);
}

TEST(Commands, VerifyChecksEveryRequestOfEveryEngine) {
  const TemporaryFolder folder;
  const ProgramResult result =
      kvrm_run({"verify", folder.write("small.yaml", small_experiment()), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
  const auto json = nlohmann::json::parse(result.out);
  ASSERT_FALSE(json["engines"].empty()) << result.out;
  for (const auto& engine : json["engines"]) {
    EXPECT_EQ(engine["status"], "verified") << engine.dump();
    EXPECT_EQ(engine["requests_checked"], 12) << engine.dump();
  }
}

TEST(Commands, PlantedFaultEndsIncorrectWithoutMetricsAndExitFive) {
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "out").string();
  const ProgramResult result = run_program(
      {.program = kvrm_faulty_program(),
       .arguments = {"run", folder.write("small.yaml", small_experiment()), "--out", out}});
  EXPECT_EQ(result.exit_code, 5) << result.err;
  const auto json = nlohmann::json::parse(read_file(out + "/results.json"));
  for (const auto& engine : json["engines"]) {
    const bool faulty = engine["name"] == "paged";
    EXPECT_EQ(engine["status"], faulty ? "incorrect" : "verified") << engine.dump();
    EXPECT_EQ(engine.contains("metrics") && !engine["metrics"].is_null(), !faulty) << engine.dump();
  }
  expect_valid_results(out);
  for (const auto& comparison : json["comparisons"]) {
    EXPECT_NE(comparison["engine"], "paged");
    EXPECT_NE(comparison["baseline"], "paged");
  }
  EXPECT_EQ(run_program({.program = kvrm_faulty_program(),
                         .arguments = {"verify", folder.write("small.yaml", small_experiment())}})
                .exit_code,
            5);
}

TEST(Commands, InterruptHalfWayKeepsWhatWasMeasured) {
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "out").string();
  const std::string file = folder.write("small.yaml", small_experiment());
  for (const int signal : {SIGINT, SIGTERM}) {
    const ProgramResult result =
        run_program({.program = kvrm_program(),
                     .arguments = {"run", file, "--out", out, "--set", "workload.requests=3000"},
                     .signal = signal,
                     .signal_when = "static-full repeat 1"});
    EXPECT_EQ(result.exit_code, 3) << result.err;
    const auto json = nlohmann::json::parse(read_file(out + "/results.json"));
    expect_valid_results(out);
    std::set<std::string> statuses;
    for (const auto& engine : json["engines"]) statuses.insert(engine["status"].get<std::string>());
    EXPECT_TRUE(statuses.contains("incomplete")) << json["engines"].dump();
    EXPECT_NE(read_file(out + "/requests.csv").find("finished"), std::string::npos);
    for (const auto& engine : json["engines"]) {
      if (engine["status"] != "incomplete") continue;
      EXPECT_TRUE(!engine.contains("metrics") || engine["metrics"].is_null());
    }
  }
}

TEST(Commands, TraceGivesExactFacts) {
  const TemporaryFolder folder;
  const std::string file = folder.write(
      "t.csv", "arrival_s,prompt_tokens,output_tokens\n0,10,1\n0.5,30,2\n0.5,20,3\n4,40,9\n");
  const ProgramResult text = kvrm_run({"trace", file});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  for (const char* line : {"rows 4\n", "duration_s 4.000\n", "prompt p50 20\n", "prompt p100 40\n",
                           "output p50 2\n", "peak_arrivals 1s 3\n"}) {
    EXPECT_NE(text.out.find(line), std::string::npos) << line << text.out;
  }
  const auto json = nlohmann::json::parse(kvrm_run({"trace", file, "--json"}).out);
  EXPECT_EQ(json["rows"], 4);
  EXPECT_EQ(json["prompt_tokens"]["p50"], 20);
}

TEST(Commands, BackendAndEngineAreChosenByName) {
  const TemporaryFolder folder;
  const std::string file = folder.write("small.yaml", small_experiment());
  const std::string out = (folder.path() / "out").string();
  const ProgramResult backend = kvrm_run({"run", file, "--backend", "cuda", "--out", out});
  EXPECT_EQ(backend.exit_code, 2);
  EXPECT_NE(backend.err.find("cpu"), std::string::npos) << backend.err;
  const ProgramResult some =
      kvrm_run({"run", file, "--engine", "kvrm", "--engine", "static-full", "--out", out});
  ASSERT_EQ(some.exit_code, 0) << some.err;
  std::vector<std::string> names;
  const auto json = nlohmann::json::parse(read_file(out + "/results.json"));
  for (const auto& engine : json["engines"]) names.push_back(engine["name"].get<std::string>());
  EXPECT_EQ(names, (std::vector<std::string>{"static-full", "kvrm", "kvrm-full"}));
}

TEST(Commands, DoctorSaysWhatRunsHere) {
  const ProgramResult result = kvrm_run({"doctor"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* word : {"cpu", "kvrm", "paged_graph", "workers"}) {
    EXPECT_NE(result.out.find(word), std::string::npos) << word;
  }
}

TEST(Commands, BenchPrintsRowsOfScalars) {
  const ProgramResult result =
      run_program({.program = kvrm_bench_program(),
                   .arguments = {"--suite", "harness", "--json", "--tiny", "--repetitions", "3"}});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  std::map<std::string, std::size_t> designs;
  for (const auto& row : json["rows"]) ++designs[row["design"]];
  const std::size_t ranges = trace::kBuiltIn ? 1 : 0;
  EXPECT_EQ(designs["null"], 4U);
  EXPECT_EQ(designs["null_watched"], 4U);
  EXPECT_EQ(designs["null_traced"], 4 * ranges) << "the program's own tool was not found";
  EXPECT_EQ(designs["range"], ranges);
  EXPECT_EQ(designs["range_traced"], ranges);
  EXPECT_EQ(json["rows"].size(), 8 + 6 * ranges);
  const ProgramResult unknown =
      run_program({.program = kvrm_bench_program(), .arguments = {"--suite", "harnes"}});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_NE(unknown.err.find("harness"), std::string::npos) << unknown.err;
}

}  // namespace
}  // namespace kvrm
