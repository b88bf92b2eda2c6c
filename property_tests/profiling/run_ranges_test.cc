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
  const char* engine;  // as in YAML
  bool overlap;
};

void PrintTo(const RunCase& run, std::ostream* out) {
  *out << run.engine << (run.overlap ? ", overlap" : "");
}

// Memory for a part of the batch, so that requests wait and pooled engines preempt.
std::string experiment_of(const RunCase& run) {
  return std::string(R"(schema: kvrm.experiment/1
name: traced
question: does a tool receive every range?
model:
  kind: decoder
  shape: {layers: 2, model_dim: 32, hidden_dim: 64, query_heads: 4, kv_heads: 2, head_dim: 8, vocabulary: 64}
workload:
  family: mixed-length
  requests: 12
  arrivals: {kind: closed, concurrency: 4}
  prompt_tokens: {kind: uniform, min: 2, max: 24}
  output_tokens: {kind: uniform, min: 1, max: 40}
budget: {kv_bytes: 16KiB, max_batch: 4, max_len: 64, prefill_tokens: 16}
output: {point_estimates: true}
engines:
  - )") + run.engine +
         "\ndriver: {repeats: 2, warmup: none, overlap: " + (run.overlap ? "true" : "false") +
         "}\n";
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

// The begins that are in no other range, and apart those that are in one, as "OUTER: INNER".
struct Nesting {
  RangeLines outer;
  RangeLines inner;
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
  }
  return nesting;
}

// The ranges of a run's steps that stand in no other range: each step's, from 1 on, in their order.
RangeLines step_ranges(std::uint64_t steps, bool is_null) {
  RangeLines lines;
  for (std::uint64_t step = 1; step <= steps; ++step) {
    const std::string number = " " + std::to_string(step);
    if (is_null) {
      lines.push_back("replay" + number);
    } else {
      for (const char* name : {"plan", "commit", "replay", "sample"})
        lines.push_back(name + number);
    }
  }
  return lines;
}

// Those that stand in another one: while a step is replayed, the plan of the next, also after the
// last step, which nobody knows to be the last.
RangeLines ahead_ranges(std::uint64_t steps) {
  RangeLines lines;
  for (std::uint64_t step = 1; step <= steps; ++step) {
    lines.push_back("replay " + std::to_string(step) + ": plan " + std::to_string(step + 1));
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

RangeLines twice(RangeLines lines) {
  const RangeLines once = lines;
  lines.insert(lines.end(), once.begin(), once.end());
  return lines;
}

TEST_P(RunRanges, AgreeWithItsResults) {
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "out").string();
  TracedProgram traced =
      trace_program({"run", folder.write("traced.yaml", experiment_of(GetParam())), "--out", out},
                    (folder.path() / "trace").string());
  ASSERT_EQ(traced.result.exit_code, 0) << traced.result.err;
  ASSERT_FALSE(traced.lines.empty());
  EXPECT_EQ(traced.lines.back(), "other 0");
  traced.lines.pop_back();
  EXPECT_TRUE(is_balanced(traced.lines));

  const auto engine = nlohmann::json::parse(read_file(out + "/results.json"))["engines"][0];
  const bool is_null = engine["kind"] == "null";
  const bool pooled = !is_null && engine["kind"] != "static";
  const std::uint64_t preemptions = engine["scheduling"]["preemptions"];
  const std::uint64_t given = engine["requests"]["finished"].get<std::uint64_t>() + preemptions;
  const std::uint64_t steps = engine["steps"];  // of both repeats, which have the same schedule
  EXPECT_EQ(steps % 2, 0U);
  EXPECT_EQ(preemptions > 0, pooled);
  EXPECT_EQ(count(traced.lines, "release"), given);
  EXPECT_LE(given, count(traced.lines, "prefill"));
  EXPECT_LE(given, count(traced.lines, "admit"));
  EXPECT_EQ(given < count(traced.lines, "admit"), pooled) << "refused for want of memory";
  EXPECT_EQ(steps, count(traced.lines, "replay"));

  Nesting nesting = nesting_of(traced.lines);
  std::erase_if(nesting.outer, [](const std::string& line) { return !is_of_a_step(line); });
  EXPECT_EQ(nesting.outer, twice(step_ranges(steps / 2, is_null)));
  EXPECT_EQ(nesting.inner, GetParam().overlap ? twice(ahead_ranges(steps / 2)) : RangeLines());
}

constexpr const char* kEngines[] = {
    "{kind: static}", "{kind: static, label: static-full, options: {attention: full}}",
    "{kind: paged}",  "{kind: paged_graph}",
    "{kind: kvrm}",   "{kind: \"null\"}",
};

std::vector<RunCase> run_cases() {
  std::vector<RunCase> cases;
  for (const char* engine : kEngines) {
    for (const bool overlap : {false, true}) cases.push_back({engine, overlap});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Engines, RunRanges, testing::ValuesIn(run_cases()));

}  // namespace
}  // namespace kvrm
