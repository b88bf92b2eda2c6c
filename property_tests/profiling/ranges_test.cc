// Every range that a tool receives of a run is where docs/profiling.md says, for every engine, with
// and without overlap, where memory is short too (DESIGN 13).
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "engines/decoder/decoder_model.h"
#include "engines/kvrm/kvrm_engine.h"
#include "harness/driver/counting_clock.h"
#include "harness/driver/drive.h"
#include "harness/trace/allocation_count.h"
#include "harness/trace/trace_range.h"
#include "property_tests/commands/program.h"
#include "property_tests/differential/engine_cases.h"
#include "property_tests/profiling/expected_ranges.h"
#include "property_tests/profiling/received_ranges.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kCases = 16;

class Ranges : public testing::Test {
 protected:
  void SetUp() override {
    if (!trace::kBuiltIn) {
      GTEST_SKIP() << "SKIPPED: this build found no NVTX headers (nvtx3/nvToolsExt.h of a CUDA "
                      "toolkit), so there are no ranges and nothing was proved about them";
    }
    LoadedSink().clear();  // before this process has its first range
  }
};

struct Coverage {
  std::uint64_t preemptions = 0;
  std::uint64_t refused_admissions = 0;
  std::uint64_t chunked_prefills = 0;
  std::uint64_t ended_by_prefill = 0;
  std::uint64_t planned_ahead = 0;
  std::map<std::string, std::uint64_t> steps;  // by kind
};

std::uint64_t count(const RangeLines& lines, const std::string& name) {
  return static_cast<std::uint64_t>(std::ranges::count_if(
      lines, [&](const std::string& line) { return line.starts_with(name + " "); }));
}

std::uint64_t count_exact(const RangeLines& lines, const std::string& line) {
  return static_cast<std::uint64_t>(std::ranges::count(lines, line));
}

// Against the log, which knows neither calls nor ranges.
void expect_counts_of(const EventLog& log, const RangeLines& lines, std::uint64_t refused) {
  const std::uint64_t given = log.requests.size() + log.preemptions;
  EXPECT_EQ(count(lines, "admit"), given + refused);
  EXPECT_EQ(count(lines, "release"), given);
  EXPECT_EQ(count(lines, "replay"), log.steps.size());
  for (std::size_t i = 0; i < log.steps.size(); ++i) {
    const std::string step = std::to_string(i + 1);
    ASSERT_EQ(count_exact(lines, "replay " + step), 1U) << step;
    const bool prefilled = log.steps[i].prefill_tokens > 0;
    ASSERT_EQ(count_exact(lines, "prefill " + step) > 0, prefilled) << step;
    const auto ended = std::ranges::count_if(log.requests, [&](const RequestRecord& request) {
      return request.output_tokens > 1 && request.finished == log.steps[i].end;
    });
    ASSERT_LE(static_cast<std::uint64_t>(ended), count_exact(lines, "release " + step)) << step;
  }
}

void note(Coverage& coverage, const EngineSpec& spec, const EngineRun& run,
          const RecordedCalls& calls) {
  coverage.preemptions += run.log.preemptions;
  coverage.steps[spec.kind] += run.log.steps.size();
  std::uint64_t chunks = 0;
  for (const RecordedCall& call : calls) {
    coverage.refused_admissions += call.kind == EngineCallKind::admit && !call.given ? 1 : 0;
    coverage.planned_ahead += call.kind == EngineCallKind::prepare ? 1 : 0;
    chunks += call.kind == EngineCallKind::prefill ? 1 : 0;
  }
  coverage.chunked_prefills += chunks > run.log.requests.size() + run.log.preemptions ? 1 : 0;
  for (const RequestRecord& request : run.log.requests) {
    coverage.ended_by_prefill += request.output_budget == 1 ? 1 : 0;
  }
}

std::uint64_t refused_admissions(const RecordedCalls& calls) {
  return static_cast<std::uint64_t>(std::ranges::count_if(calls, [](const RecordedCall& call) {
    return call.kind == EngineCallKind::admit && !call.given;
  }));
}

void run_case(const EngineCase& setup, const EngineSpec& spec, bool overlap, Coverage& coverage) {
  SCOPED_TRACE(spec.label + (overlap ? ", overlap" : ""));
  RecordedCalls calls;
  const Registry registry = recording(make_registry(), calls);
  const auto model = registry.load_model(setup.model);
  ASSERT_TRUE(model.has_value());
  LoadedSink sink;
  sink.clear();
  const Result<EngineRun> run =
      run_engine_case(setup, spec, registry, **model, {.workers = 2, .overlap = overlap});
  ASSERT_TRUE(run.has_value()) << run.error().message;
  const RangeLines lines = sink.lines();
  EXPECT_EQ(lines, expected_ranges(calls, spec.kind == "null"));
  EXPECT_TRUE(is_balanced(lines));
  EXPECT_EQ(sink.threads(), 1U);
  EXPECT_EQ(sink.other_calls(), 0U);
  expect_counts_of(run->log, lines, refused_admissions(calls));
  note(coverage, spec, *run, calls);
}

using RangesProperty = Ranges;

TEST_F(RangesProperty, AreThoseOfTheDriversCallsInEveryEngine) {
  Coverage coverage;
  for (std::uint64_t seed = 0; seed < kCases && !HasFailure(); ++seed) {
    EngineCase setup = draw_engine_case(seed);
    SCOPED_TRACE("draw_engine_case(" + std::to_string(seed) + "): " + setup.describe());
    for (std::size_t i = 0; i < setup.requests.size(); i += 5) setup.requests[i].output_tokens = 1;
    setup.engines.push_back(
        {.kind = "null", .label = "null", .options = {}, .budget = setup.budget});
    for (const EngineSpec& spec : setup.engines) {
      for (const bool overlap : {false, true}) run_case(setup, spec, overlap, coverage);
    }
  }
  EXPECT_GT(coverage.preemptions, 20U);
  EXPECT_GT(coverage.refused_admissions, 20U);
  EXPECT_GT(coverage.chunked_prefills, 20U);
  EXPECT_GT(coverage.ended_by_prefill, 5U);
  EXPECT_GT(coverage.planned_ahead, 500U);
  for (const char* kind : {"static", "paged", "paged_graph", "kvrm", "null"}) {
    EXPECT_GT(coverage.steps[kind], 500U) << kind;
  }
}

TEST_F(Ranges, AStepThatFailsLeavesNoneOpen) {
  const EngineCase setup = draw_engine_case(1);
  const Registry registry = make_registry();
  const auto spec = std::ranges::find(setup.engines, "kvrm", &EngineSpec::kind);
  ASSERT_NE(spec, setup.engines.end());
  const auto model = registry.load_model(setup.model);
  const auto device = registry.backends.front().make({.workers = 1});
  ASSERT_TRUE(model.has_value() && device.has_value());
  LoadedSink sink;
  sink.clear();
  {
    const auto kernels = select_kernels((*device)->info().kernel_target);
    const auto engine =
        KvrmEngine::make(*spec, static_cast<const DecoderModel&>(**model), *kernels, **device);
    ASSERT_TRUE(engine.has_value());
    const std::vector<std::byte> record(7);
    EXPECT_FALSE((*engine)->submit_logged({.step = 1, .slots = {}}, record).has_value());
  }
  EXPECT_EQ(sink.lines(), (RangeLines{"commit 1", "end"}));
}

// Its records are there already: a step is not planned again.
TEST_F(Ranges, AReplayedLogHasTheStepsOfItsRunWithoutTheirPlans) {
  const EngineCase setup = draw_engine_case(1);
  const Registry registry = make_registry();
  const auto found = std::ranges::find(setup.engines, "kvrm", &EngineSpec::kind);
  ASSERT_NE(found, setup.engines.end());
  EngineSpec spec = *found;
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "log").string();
  spec.descriptor_log = {.file = file, .experiment = "none"};
  const auto model = registry.load_model(setup.model);
  ASSERT_TRUE(model.has_value());
  const auto run = run_engine_case(setup, spec, registry, **model, {.workers = 1});
  ASSERT_TRUE(run.has_value());
  ASSERT_GT(run->log.steps.size(), 10U);
  const auto device = registry.backends.front().make({.workers = 1});
  ASSERT_TRUE(device.has_value());
  LoadedSink sink;
  sink.clear();
  spec.descriptor_log = {};
  ASSERT_TRUE(registry.replay_log(file, spec, **model, **device).has_value());
  RangeLines expected;
  for (std::size_t step = 1; step <= run->log.steps.size(); ++step) {
    for (const char* name : {"commit ", "replay ", "sample "}) {
      expected.push_back(name + std::to_string(step));
      expected.push_back("end");
    }
  }
  EXPECT_EQ(sink.lines(), expected);
}

struct Cost {
  std::uint64_t readings = 0;
  std::uint64_t allocations = 0;
  bool operator==(const Cost&) const = default;
};

Cost cost_of_a_run() {
  const Registry registry = make_registry();
  EngineCase setup = draw_engine_case(3);
  const auto model = registry.load_model(setup.model);
  const auto device = registry.backends.front().make({.workers = 1});
  const auto null = std::ranges::find(registry.engines, "null", &EngineEntry::kind);
  const auto engine = null->make(
      {.kind = "null", .label = "null", .options = {}, .budget = setup.budget}, **model, **device);
  ListStream stream(setup.requests);
  DriveOptions options;
  options.budget = setup.budget;
  options.model_kind = (*model)->shape().kind;
  options.vocabulary = (*model)->shape().vocabulary;
  CountingClock clock;
  const std::uint64_t before = allocation_count();
  EXPECT_TRUE(drive(**engine, stream, {}, options, clock).has_value());
  return {.readings = clock.readings(), .allocations = allocation_count() - before};
}

TEST_F(Ranges, ReceivingThemReadsNoClockAndAllocatesNothing) {
  LoadedSink sink;
  cost_of_a_run();  // the sink has its memory after this
  sink.clear();
  const Cost on = cost_of_a_run();
  EXPECT_GT(sink.lines().size(), 100U);
  sink.clear();
  sink.listen(false);
  const Cost off = cost_of_a_run();
  EXPECT_EQ(sink.lines().size(), 0U) << "the sink still listens";
  sink.listen(true);
  EXPECT_EQ(on, off);
  EXPECT_GT(off.readings, 100U);
}

}  // namespace
}  // namespace kvrm
