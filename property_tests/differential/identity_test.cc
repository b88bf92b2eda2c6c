// All exact engines give the same bits: every token, every last output, on random mixed batches of
// every KV type, with budgets tight enough to preempt (DESIGN 19, invariants 16 to 18 and 20).
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "harness/driver/verify.h"
#include "property_tests/differential/engine_cases.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kCases = 300;

// What must have been seen over all cases, so that the property cannot pass by never meeting the
// hard states.
struct Coverage {
  std::uint64_t preemptions = 0;
  std::uint64_t recomputed = 0;
  std::uint64_t padding_rows = 0;
  std::uint64_t masked_positions = 0;
  std::uint64_t groups_merged = 0;
  std::uint64_t moved_bytes = 0;
  std::uint64_t forks = 0;
  std::uint64_t copy_on_writes = 0;
  std::uint64_t compacted_blocks = 0;
  std::uint64_t mapped_bytes = 0;
  std::set<std::string> engines;  // by label
  std::uint64_t samples = 0;      // of another request's prompt, checked against the oracle
  std::set<DType> kv_types;
  std::set<ModelKind> kinds;
  std::set<std::uint32_t> block_tokens;
  std::uint64_t mixed_block_tokens = 0;  // cases in which engines had blocks of several sizes
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void expect_all_finished(const EngineRun& run) {
  for (const RequestRecord& request : run.log.requests) {
    ASSERT_EQ(request.state, RequestState::finished)
        << run.log.engine_label << " request " << request.id;
    ASSERT_EQ(request.output_tokens, request.output_budget)
        << run.log.engine_label << " request " << request.id;
  }
  EXPECT_EQ(run.log.end_usage.memory.allocated_bytes, 0U) << run.log.engine_label;
  EXPECT_EQ(run.log.end_usage.memory.live_bytes, 0U) << run.log.engine_label;
}

void expect_same(const EngineRun& run, const EngineRun& reference) {
  ASSERT_EQ(run.log.requests.size(), reference.log.requests.size());
  for (std::size_t i = 0; i < run.log.requests.size(); ++i) {
    ASSERT_EQ(run.log.requests[i].output_digest, reference.log.requests[i].output_digest)
        << run.log.engine_label << " request " << i;
    ASSERT_TRUE(same_bits(run.outputs[i].output, reference.outputs[i].output))
        << run.log.engine_label << " request " << i;
  }
  EXPECT_EQ(run.log.output_tokens, reference.log.output_tokens) << run.log.engine_label;
  EXPECT_EQ(run.log.output_digest, reference.log.output_digest) << run.log.engine_label;
}

void expect_one_graph(const EngineRun& run, const EngineSpec& spec) {
  if (spec.kind == "paged") return;
  const EngineUsage& start = run.log.start_usage;
  const EngineUsage& end = run.log.end_usage;
  EXPECT_EQ(end.counters.captures, start.counters.captures)
      << spec.label << ": captured after warm-up";
  EXPECT_EQ(end.launch_hash_changes, 0U) << spec.label;
  EXPECT_EQ(end.counters.fallbacks, 0U) << spec.label;
  if (!run.log.steps.empty()) {
    EXPECT_GT(end.counters.replays, 0U) << spec.label;
  }
}

void expect_memory_in_order(const EngineRun& run, const EngineSpec& spec) {
  for (const StepRecord& step : run.log.steps) {
    ASSERT_LE(step.memory.live_bytes, step.memory.allocated_bytes) << spec.label;
    ASSERT_LE(step.memory.allocated_bytes, step.memory.reserved_bytes) << spec.label;
    ASSERT_LE(step.memory.reserved_bytes, spec.budget.kv_bytes) << spec.label;
  }
}

// All engines could share one mistake about whose content a shared prefix is.
void expect_samples_right(const EngineCase& setup, const Registry& registry, const Model& model,
                          const EngineRun& run, Coverage& coverage) {
  OracleChecker oracle(registry.make_oracle(model, {}), model.shape());
  for (const Request& request : setup.requests) {
    if (request.prefix_tokens == 0) continue;
    const OracleFinding finding = oracle.check_last(request, run.outputs[request.id]);
    ASSERT_TRUE(finding.right) << finding.reason;
    ++coverage.samples;
  }
}

void note(Coverage& coverage, const EngineCase& setup, const EngineRun& run) {
  const EngineCounters& counters = run.log.end_usage.counters;
  coverage.preemptions += run.log.preemptions;
  coverage.recomputed += run.log.recomputed_tokens;
  coverage.padding_rows += counters.padding_rows;
  coverage.masked_positions += counters.masked_positions;
  coverage.groups_merged += counters.blocks - counters.groups;
  coverage.moved_bytes += counters.moved_bytes;
  coverage.forks += counters.forks;
  coverage.copy_on_writes += counters.copy_on_writes;
  coverage.compacted_blocks += counters.compacted_blocks;
  coverage.mapped_bytes += counters.mapped_bytes;
  coverage.engines.insert(run.log.engine_label);
  coverage.kv_types.insert(setup.model.shape.kv_dtype);
  coverage.kinds.insert(setup.model.shape.kind);
}

void run_case(std::uint64_t seed, const Registry& registry, Coverage& coverage) {
  const EngineCase setup = draw_engine_case(seed);
  SCOPED_TRACE("draw_engine_case(" + std::to_string(seed) + "): " + setup.describe());
  const auto model = registry.load_model(setup.model);
  ASSERT_TRUE(model.has_value()) << model.error().message;
  std::optional<EngineRun> reference;
  std::set<std::uint32_t> block_tokens;
  for (const EngineSpec& spec : setup.engines) {
    Result<EngineRun> run = run_engine_case(setup, spec, registry, **model,
                                            {.workers = static_cast<std::uint32_t>(1 + seed % 2)});
    ASSERT_TRUE(run.has_value()) << spec.label << ": " << run.error().message;
    run->log.engine_label = spec.label;
    expect_all_finished(*run);
    expect_one_graph(*run, spec);
    expect_memory_in_order(*run, spec);
    if (reference) expect_same(*run, *reference);
    note(coverage, setup, *run);
    block_tokens.insert(spec.options.block_tokens);
    if (!reference) reference = std::move(*run);
  }
  coverage.block_tokens.insert(block_tokens.begin(), block_tokens.end());
  coverage.mixed_block_tokens += block_tokens.size() > 1 ? 1 : 0;
  expect_samples_right(setup, registry, **model, *reference, coverage);
}

TEST(EngineIdentity, AllEnginesGiveTheSameBitsOnRandomMixedBatches) {
  const Registry registry = make_registry();
  Coverage coverage;
  for (std::uint64_t seed = 0; seed < kCases && !HasFatalFailure() && !HasNonfatalFailure();
       ++seed) {
    run_case(seed, registry, coverage);
  }
  EXPECT_GT(coverage.preemptions, 100U);
  EXPECT_GT(coverage.recomputed, 1000U);
  EXPECT_GT(coverage.padding_rows, 1000U);
  EXPECT_GT(coverage.masked_positions, 1000U);
  EXPECT_GT(coverage.groups_merged, 1000U);
  EXPECT_GT(coverage.moved_bytes, 1'000'000U);
  EXPECT_GT(coverage.forks, 200U);
  EXPECT_GT(coverage.copy_on_writes, 100U);
  EXPECT_GT(coverage.compacted_blocks, 100U);
  EXPECT_GT(coverage.mapped_bytes, 1'000'000U);
  EXPECT_EQ(coverage.engines.size(), 9U) << "static, paged, paged_graph and kvrm in all forms";
  EXPECT_GT(coverage.samples, 200U);
  EXPECT_EQ(coverage.kv_types.size(), 3U);
  EXPECT_EQ(coverage.kinds.size(), 2U);
  EXPECT_EQ(coverage.block_tokens, (std::set<std::uint32_t>{8, 16, 32, 64}));
  EXPECT_GT(coverage.mixed_block_tokens, 100U);
}

TEST(EngineIdentity, HoldsForEveryKernelTargetAndTheForcedOneRan) {
  const Registry registry = make_registry();
  for (const std::string target : {"reference", "sse4", "avx2", "avx512", "avx512_bf16"}) {
    const Result<std::unique_ptr<Device>> device =
        registry.backends.front().make({.kernels = target});
    if (!device) {
      std::printf("[  SKIPPED ] kernel target %s: %s\n", target.c_str(),
                  device.error().message.c_str());
      continue;
    }
    EXPECT_EQ((*device)->info().kernel_target, target);
    for (std::uint64_t seed = 1000; seed < 1010; ++seed) {
      const EngineCase setup = draw_engine_case(seed);
      const auto model = registry.load_model(setup.model);
      ASSERT_TRUE(model.has_value());
      std::optional<EngineRun> reference;
      for (const EngineSpec& spec : setup.engines) {
        Result<EngineRun> run =
            run_engine_case(setup, spec, registry, **model, {.kernels = target});
        ASSERT_TRUE(run.has_value()) << spec.label << ": " << run.error().message;
        run->log.engine_label = spec.label + " on " + target;
        if (reference) expect_same(*run, *reference);
        if (!reference) reference = std::move(*run);
      }
    }
  }
}

}  // namespace
}  // namespace kvrm
