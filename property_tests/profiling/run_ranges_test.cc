// The ranges of the real `kvrm run`, received by a tool that NVTX loads from the environment,
// against the counters of its results.json.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "harness/trace/trace_range.h"
#include "property_tests/commands/program.h"
#include "property_tests/commands/small_experiment.h"
#include "property_tests/profiling/received_ranges.h"

namespace kvrm {
namespace {

// Sets a variable for programs that are started meanwhile.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

struct TracedProgram {
  ProgramResult result;
  RangeLines lines;
};

TracedProgram trace_program(std::vector<std::string> arguments, const std::string& file) {
  const Variable tool("NVTX_INJECTION64_PATH", trace_sink_path());
  const Variable target("KVRM_TRACE_FILE", file);
  TracedProgram traced;
  traced.result = run_program({.program = kvrm_program(), .arguments = std::move(arguments)});
  traced.lines = lines_of_file(file);
  return traced;
}

struct RunCase {
  const char* engine;
  bool overlap;
};

void PrintTo(const RunCase& run, std::ostream* out) {
  *out << run.engine << (run.overlap ? ", overlap" : "");
}

class RunRanges : public testing::TestWithParam<RunCase> {
 protected:
  void SetUp() override {
    if (!trace::kBuiltIn) {
      GTEST_SKIP() << "SKIPPED: this build found no NVTX headers (nvtx3/nvToolsExt.h of a CUDA "
                      "toolkit), so `kvrm run` has no ranges and nothing was proved about them";
    }
  }
};

// The begins that are in no other range, and apart from them those that are in one, as "OUTER: INNER".
struct Nesting {
  RangeLines outer;
  RangeLines inner;
  std::size_t depth_max = 0;
};

Nesting nesting_of(const RangeLines& lines) {
  Nesting nesting;
  RangeLines open;
  for (const std::string& line : lines) {
    if (line == "end") {
      if (!open.empty()) open.pop_back();
      continue;
    }
    if (open.empty()) {
      nesting.outer.push_back(line);
    } else {
      nesting.inner.push_back(open.back() + ": " + line);
    }
    open.push_back(line);
    nesting.depth_max = std::max(nesting.depth_max, open.size());
  }
  return nesting;
}

// What must stand in no other range, and in that order, of so many steps of so many repeats.
RangeLines step_ranges(std::uint64_t steps, bool is_null) {
  RangeLines lines;
  for (std::uint64_t step = 1; step <= steps; ++step) {
    const std::string number = " " + std::to_string(step);
    if (is_null) {
      lines.push_back("replay" + number);
    } else {
      for (const char* name : {"plan", "commit", "replay", "sample"}) lines.push_back(name + number);
    }
  }
  return lines;
}

bool is_of_a_step(const std::string& line) {
  return !line.starts_with("admit ") && !line.starts_with("prefill ") &&
         !line.starts_with("release ");
}

std::uint64_t count(const RangeLines& lines, const std::string& name) {
  return static_cast<std::uint64_t>(std::ranges::count_if(
      lines, [&](const std::string& line) { return line.starts_with(name + " "); }));
}

TEST_P(RunRanges, AgreeWithItsResults) {
  const auto [engine, overlap] = GetParam();
  constexpr std::uint64_t kRepeats = 2;
  const TemporaryFolder folder;
  const std::string experiment =
      folder.write("small.yaml", small_experiment() + "\n");
  const std::string out = (folder.path() / "out").string();
  TracedProgram traced = trace_program(
      {"run", experiment, "--out", out, "--engine", engine, "--set",
       overlap ? "driver.overlap=true" : "driver.overlap=false", "--set", "budget.kv_bytes=16KiB"},
      (folder.path() / "trace").string());
  ASSERT_EQ(traced.result.exit_code, 0) << traced.result.err;
  ASSERT_FALSE(traced.lines.empty());
  EXPECT_EQ(traced.lines.back(), "other 0");
  traced.lines.pop_back();
  EXPECT_TRUE(is_balanced(traced.lines));

  const auto json = nlohmann::json::parse(read_file(out + "/results.json"))["engines"][0];
  const std::uint64_t steps = json["steps"];
  std::cerr << json["steps"] << " " << json["scheduling"] << json["requests"] << count(traced.lines,"release") <<" "<< count(traced.lines,"admit")<< " " << count(traced.lines, "prefill") << " " << json["tokens"] << "\n";
  const Nesting nesting = nesting_of(traced.lines);
  std::erase_if(traced.lines, [](const std::string& line) { return !is_of_a_step(line); });
  EXPECT_EQ(count(nesting.outer, "replay"), steps * kRepeats);
}

INSTANTIATE_TEST_SUITE_P(Engines, RunRanges,
                         testing::Values(RunCase{"static", false}, RunCase{"static", true},
                                         RunCase{"paged", false}, RunCase{"paged", true},
                                         RunCase{"paged_graph", false},
                                         RunCase{"paged_graph", true}, RunCase{"kvrm", false},
                                         RunCase{"kvrm", true}, RunCase{"kvrm-full", true}));

}  // namespace
}  // namespace kvrm
