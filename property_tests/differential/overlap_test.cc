// Overlap changes when the host works and nothing else: on every engine, with the device beside the
// host, the outputs are the bits of a run without it; with room for all, so are the schedule and
// every count that does not depend on which blocks were free (DESIGN 13; DESIGN 19, invariants 7,
// 20, 22 and 24).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "property_tests/differential/engine_cases.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kTightCases = 40;
constexpr std::uint64_t kRoomyCases = 20;

struct Coverage {
  std::uint64_t preemptions = 0;
  std::uint64_t wasted_rows = 0;
  std::uint64_t wasted_by_preemption = 0;             // more rows wasted than requests ended
  std::map<std::string, std::uint64_t> steps_hidden;  // by kind: steps in which host work was
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void expect_same_outputs(const EngineRun& overlapped, const EngineRun& plain) {
  ASSERT_EQ(overlapped.log.requests.size(), plain.log.requests.size());
  for (std::size_t i = 0; i < plain.log.requests.size(); ++i) {
    const RequestRecord& record = overlapped.log.requests[i];
    ASSERT_EQ(record.state, RequestState::finished) << i;
    ASSERT_EQ(record.output_tokens, record.output_budget) << i;
    ASSERT_EQ(record.output_digest, plain.log.requests[i].output_digest) << i;
    ASSERT_TRUE(same_bits(overlapped.outputs[i].output, plain.outputs[i].output)) << i;
  }
  EXPECT_EQ(overlapped.log.output_tokens, plain.log.output_tokens);
  EXPECT_EQ(overlapped.log.output_digest, plain.log.output_digest);
}

void expect_nothing_held(const EngineRun& run) {
  const EngineUsage& usage = run.log.end_usage;
  EXPECT_EQ(usage.memory.allocated_bytes, 0U);
  EXPECT_EQ(usage.memory.live_bytes, 0U);
  EXPECT_EQ(usage.launch_hash_changes, 0U);
  for (const StepRecord& step : run.log.steps) {
    ASSERT_LE(step.memory.live_bytes, step.memory.allocated_bytes);
    ASSERT_LE(step.memory.allocated_bytes, step.memory.reserved_bytes);
  }
}

// Without copies inside the pool: a row that is planned for nothing may cause one, and where blocks
// lie, hence what compaction finds, follows from when they were taken.
std::uint64_t transported_bytes(const EngineRun& run, std::uint64_t block_bytes) {
  const EngineCounters& counters = run.log.end_usage.counters;
  return counters.moved_bytes - (counters.copy_on_writes + counters.compacted_blocks) * block_bytes;
}

// Which blocks are new to a view follows from which were copied.
bool keeps_views(const EngineSpec& spec) {
  return spec.options.transport == Transport::delta || spec.options.transport == Transport::remap;
}

void expect_same_schedule(const EngineRun& overlapped, const EngineRun& plain,
                          const EngineSpec& spec, std::uint64_t token_bytes) {
  ASSERT_EQ(overlapped.log.preemptions, 0U);
  ASSERT_EQ(overlapped.log.steps.size(), plain.log.steps.size());
  for (std::size_t i = 0; i < plain.log.steps.size(); ++i) {
    ASSERT_EQ(overlapped.log.steps[i].active_slots, plain.log.steps[i].active_slots) << i;
    ASSERT_EQ(overlapped.log.steps[i].prefill_tokens, plain.log.steps[i].prefill_tokens) << i;
  }
  constexpr std::uint64_t EngineCounters::*kUnplaced[] = {
      &EngineCounters::kv_read_bytes,
      &EngineCounters::captures,
      &EngineCounters::replays,
      &EngineCounters::launches,
      &EngineCounters::fallbacks,
      &EngineCounters::commits,
      &EngineCounters::rows,
      &EngineCounters::padding_rows,
      &EngineCounters::attended_positions,
      &EngineCounters::masked_positions,
      &EngineCounters::allocation_failures,
  };
  for (const auto counter : kUnplaced) {
    EXPECT_EQ(overlapped.log.end_usage.counters.*counter, plain.log.end_usage.counters.*counter);
  }
  if (!keeps_views(spec)) {
    const std::uint64_t block_bytes = spec.options.block_tokens * token_bytes;
    EXPECT_EQ(overlapped.log.end_usage.counters.blocks, plain.log.end_usage.counters.blocks);
    EXPECT_EQ(transported_bytes(overlapped, block_bytes), transported_bytes(plain, block_bytes));
  }
  EXPECT_TRUE(!kClearsPadding ||
              overlapped.log.end_usage.launch_signature == plain.log.end_usage.launch_signature);
}

void note(Coverage& coverage, const EngineSpec& spec, const EngineRun& run) {
  coverage.preemptions += run.log.preemptions;
  coverage.wasted_rows += run.log.wasted_rows;
  coverage.wasted_by_preemption += run.log.wasted_rows > run.log.requests.size() ? 1 : 0;
  for (const StepRecord& step : run.log.steps) {
    coverage.steps_hidden[spec.kind] += step.hidden_host > 0 ? 1 : 0;
  }
}

void run_case(const EngineCase& setup, const Registry& registry, bool roomy, Coverage& coverage) {
  const auto model = registry.load_model(setup.model);
  ASSERT_TRUE(model.has_value()) << model.error().message;
  const auto threads = static_cast<std::uint32_t>(1 + setup.requests.size() % 3);
  for (const EngineSpec& spec : setup.engines) {
    SCOPED_TRACE(spec.label);
    const auto run = [&](bool overlap) {
      return run_engine_case(setup, spec, registry, **model,
                             {.workers = threads, .overlap = overlap});
    };
    const Result<EngineRun> plain = run(false);
    const Result<EngineRun> overlapped = run(true);
    ASSERT_TRUE(plain.has_value() && overlapped.has_value());
    expect_same_outputs(*overlapped, *plain);
    expect_nothing_held(*overlapped);
    EXPECT_EQ(plain->log.wasted_rows, 0U);
    if (roomy) {
      expect_same_schedule(*overlapped, *plain, spec, setup.model.shape.kv_bytes_per_token());
    }
    note(coverage, spec, *overlapped);
  }
}

TEST(Overlap, OutputsAreThoseOfARunWithoutIt) {
  const Registry registry = make_registry();
  Coverage coverage;
  for (std::uint64_t seed = 0; seed < kTightCases && !testing::Test::HasFailure(); ++seed) {
    const EngineCase setup = draw_engine_case(seed);
    SCOPED_TRACE("draw_engine_case(" + std::to_string(seed) + "): " + setup.describe());
    run_case(setup, registry, false, coverage);
  }
  EXPECT_GT(coverage.preemptions, 30U);
  EXPECT_GT(coverage.wasted_rows, 250U);
  EXPECT_GT(coverage.wasted_by_preemption, 0U);
  for (const char* kind : {"static", "paged", "paged_graph", "kvrm"}) {
    EXPECT_GT(coverage.steps_hidden[kind], 100U) << kind;
  }
}

TEST(Overlap, WithRoomForAllTheScheduleAndTheCountsAreTheSame) {
  const Registry registry = make_registry();
  Coverage coverage;
  for (std::uint64_t seed = 5000; seed < 5000 + kRoomyCases && !testing::Test::HasFailure();
       ++seed) {
    EngineCase setup = draw_engine_case(seed);
    setup.budget.kv_bytes = std::uint64_t{64} << 20;
    for (EngineSpec& spec : setup.engines) spec.budget = setup.budget;
    SCOPED_TRACE("draw_engine_case(" + std::to_string(seed) + "): " + setup.describe());
    run_case(setup, registry, true, coverage);
  }
  EXPECT_GT(coverage.wasted_rows, 100U);
}

// What a run's last graph is called, engine and device made anew.
EngineUsage usage_of(const EngineCase& setup, const EngineSpec& spec, const Registry& registry,
                     const Model& model) {
  const Result<EngineRun> run = run_engine_case(setup, spec, registry, model, {.workers = 1});
  EXPECT_TRUE(run.has_value());
  return run ? run->log.end_usage : EngineUsage{};
}

// Takes the addresses that a device has given back, so that the next one's memory lies elsewhere.
class Squatter {
 public:
  explicit Squatter(const Registry& registry)
      : device_(registry.backends.front().make({.workers = 1}).value()) {
    for (const std::size_t bytes : {5 * kKiB, 70 * kKiB, 3 * kMiB}) {
      buffers_.push_back(device_->allocate(MemoryPurpose::activations, bytes).value());
    }
  }

 private:
  std::unique_ptr<Device> device_;
  std::vector<Buffer> buffers_;
};

TEST(LaunchSignature, IsTheConstructionsAndNotTheAddresses) {
  if (!kClearsPadding) GTEST_SKIP() << "SKIPPED: this compiler cannot clear padding";
  const Registry registry = make_registry();
  std::uint64_t compared = 0;
  std::uint64_t moved = 0;
  for (std::uint64_t seed = 7000; seed < 7020; ++seed) {
    EngineCase setup = draw_engine_case(seed);
    SCOPED_TRACE(setup.describe());
    setup.budget.kv_bytes = std::uint64_t{64} << 20;
    setup.budget.max_batch = 4;
    setup.concurrency = 4;
    const auto model = registry.load_model(setup.model);
    ASSERT_TRUE(model.has_value());
    for (EngineSpec spec : setup.engines) {
      SCOPED_TRACE(spec.label);
      spec.options.batch_buckets.clear();
      if (spec.kind == "paged_graph") spec.options.batch_buckets = {setup.budget.max_batch};
      spec.budget = setup.budget;
      const EngineUsage first = usage_of(setup, spec, registry, **model);
      const Squatter squatter(registry);
      const EngineUsage again = usage_of(setup, spec, registry, **model);
      EXPECT_EQ(again.launch_signature, first.launch_signature);
      EXPECT_EQ(first.launch_signature != 0, spec.kind != "paged") << "eager engines have none";
      if (first.launch_signature == 0) continue;
      moved += again.launch_hash != first.launch_hash ? 1 : 0;
      EngineCase wider = setup;
      wider.budget.max_batch = spec.budget.max_batch = 5;
      if (spec.kind == "paged_graph") spec.options.batch_buckets = {5};
      EXPECT_NE(usage_of(wider, spec, registry, **model).launch_signature, first.launch_signature);
      ++compared;
    }
  }
  EXPECT_GT(compared, 50U);
  EXPECT_GT(moved, 50U) << "the second engine's memory did not lie elsewhere";
}

}  // namespace
}  // namespace kvrm
