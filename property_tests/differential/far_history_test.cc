// Engines that follow one far-history rule give the same bits whatever the transport, placement,
// compaction and preemption, and those of the oracle that follows the rule by its definition
// (DESIGN 9; DESIGN 19, invariants 20 and 21). Memory a history is bounded, and the graph is the
// one of an engine without far history.
#include "engines/history/far_history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "harness/driver/verify.h"
#include "property_tests/differential/engine_cases.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kCases = 120;

struct Coverage {
  std::uint64_t summaries = 0;
  std::uint64_t merges = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t compacted_blocks = 0;
  std::uint64_t full_commits = 0;
  std::uint64_t checked = 0;  // outputs against the oracle
  std::set<std::string> engines;
  std::set<DType> kv_types;
  std::set<ModelKind> kinds;
};

FarHistoryRule draw_rule(std::uint64_t seed, std::uint32_t block_tokens) {
  RandomStream random(seed, "far rule");
  return {.enabled = true,
          .block_tokens = block_tokens,
          .window_tokens = block_tokens + static_cast<std::uint32_t>(random.below(40)),
          .sink_tokens = block_tokens * static_cast<std::uint32_t>(random.below(3)),
          .summaries = 2 + static_cast<std::uint32_t>(random.below(6))};
}

// A case of kvrm engines alone, with one rule for all; long histories over small blocks. Nobody
// forks with far history, so samples are prefilled.
EngineCase draw_far_case(std::uint64_t seed) {
  EngineCase setup = draw_engine_case(seed);
  const std::uint32_t block_tokens = seed % 3 == 0 ? 16 : 8;
  std::erase_if(setup.engines, [](const EngineSpec& spec) { return spec.kind != "kvrm"; });
  for (EngineSpec& spec : setup.engines) {
    spec.options.block_tokens = block_tokens;
    spec.options.far_history = draw_rule(seed, block_tokens);
  }
  // A view of one slot for `delta`, and one history's blocks at least; what is drawn on top decides
  // how much is preempted.
  const ModelShape& shape = setup.model.shape;
  const std::uint64_t history = round_up(shape.max_len, block_tokens);
  const std::uint64_t needed =
      block_tokens *
      far_blocks_needed(setup.engines.front().options.far_history, shape.max_len, 0).total();
  RandomStream random(seed, "far budget");
  const std::uint64_t positions = history + needed + random.below(3 * needed);
  setup.budget.kv_bytes = positions * shape.kv_bytes_per_token();
  for (EngineSpec& spec : setup.engines) spec.budget = setup.budget;
  return setup;
}

bool fits(const EngineCase& setup) {
  const ModelShape& shape = setup.model.shape;
  const FarHistoryRule& rule = setup.engines.front().options.far_history;
  const std::uint64_t longest = far_length_max(rule, shape.tile_tokens, shape.max_len);
  const bool tiles = shape.tile_tokens % rule.block_tokens == 0;
  return tiles &&
         round_up(longest, rule.block_tokens) <= round_up(shape.max_len, rule.block_tokens);
}

bool pages_fit(const EngineCase& setup, const EngineSpec& spec) {
  const std::uint64_t block =
      spec.options.block_tokens * setup.model.shape.kv_bytes_per_token() / setup.model.shape.layers;
  return spec.options.transport != Transport::remap || block % 4096 == 0;
}

void expect_same(const EngineRun& run, const EngineRun& reference) {
  ASSERT_EQ(run.log.requests.size(), reference.log.requests.size());
  for (std::size_t i = 0; i < run.outputs.size(); ++i) {
    const std::vector<float>& a = run.outputs[i].output;
    const std::vector<float>& b = reference.outputs[i].output;
    ASSERT_EQ(run.log.requests[i].output_digest, reference.log.requests[i].output_digest) << i;
    ASSERT_TRUE(a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * 4) == 0) << i;
  }
}

void expect_right(const EngineCase& setup, const Registry& registry, const Model& model,
                  const EngineRun& run, Coverage& coverage) {
  const FarHistoryRule& rule = setup.engines.front().options.far_history;
  OracleChecker oracle(registry.make_oracle(model, rule), model.shape(), rule);
  for (const Request& request : setup.requests) {
    const OracleFinding finding = oracle.check_last(request, run.outputs[request.id]);
    ASSERT_TRUE(finding.right) << finding.reason;
    ++coverage.checked;
  }
}

// No history ever holds more blocks than the rule needs at most.
void expect_bounded(const EngineCase& setup, const EngineSpec& spec, const EngineRun& run) {
  const ModelShape& shape = setup.model.shape;
  const std::uint64_t block_bytes = spec.options.block_tokens * shape.kv_bytes_per_token();
  const std::uint64_t most = far_blocks_needed(spec.options.far_history, shape.max_len, 0).total();
  for (const StepRecord& step : run.log.steps) {
    // A history that is still in its prefill is not among the active ones.
    ASSERT_LE(step.memory.allocated_bytes, (step.active_slots + 1) * most * block_bytes);
    ASSERT_LE(step.memory.live_bytes, step.memory.allocated_bytes);
  }
  EXPECT_EQ(run.log.end_usage.memory.allocated_bytes, 0U);
  EXPECT_EQ(run.log.end_usage.launch_hash_changes, 0U);
}

void note(Coverage& coverage, const EngineCase& setup, const EngineRun& run) {
  const EngineCounters& counters = run.log.end_usage.counters;
  coverage.summaries += counters.far_summaries;
  coverage.merges += counters.far_merges;
  coverage.preemptions += run.log.preemptions;
  coverage.compacted_blocks += counters.compacted_blocks;
  coverage.full_commits += counters.full_commits;
  coverage.engines.insert(run.log.engine_label);
  coverage.kv_types.insert(setup.model.shape.kv_dtype);
  coverage.kinds.insert(setup.model.shape.kind);
}

void run_case(const EngineCase& setup, const Registry& registry, std::uint64_t seed,
              Coverage& coverage) {
  const auto model = registry.load_model(setup.model);
  ASSERT_TRUE(model.has_value()) << model.error().message;
  std::optional<EngineRun> reference;
  for (const EngineSpec& spec : setup.engines) {
    if (!pages_fit(setup, spec)) continue;
    SCOPED_TRACE(spec.label);
    Result<EngineRun> run = run_engine_case(
        setup, spec, registry, **model,
        {.workers = static_cast<std::uint32_t>(1 + seed % 2), .overlap = seed % 5 == 0});
    ASSERT_TRUE(run.has_value()) << run.error().message;
    run->log.engine_label = spec.label;
    expect_bounded(setup, spec, *run);
    if (reference) {
      expect_same(*run, *reference);
    } else {
      expect_right(setup, registry, **model, *run, coverage);
    }
    note(coverage, setup, *run);
    if (!reference) reference = std::move(*run);
  }
}

TEST(FarHistoryEngines, GiveTheBitsOfOneAnotherAndTheOutputsOfTheOracle) {
  const Registry registry = make_registry();
  Coverage coverage;
  for (std::uint64_t seed = 0; seed < kCases && !HasFatalFailure() && !HasNonfatalFailure();
       ++seed) {
    const EngineCase setup = draw_far_case(seed);
    if (!fits(setup)) continue;
    SCOPED_TRACE("draw_far_case(" + std::to_string(seed) + "): " + setup.describe());
    run_case(setup, registry, seed, coverage);
  }
  EXPECT_GT(coverage.summaries, 1000U);
  EXPECT_GT(coverage.merges, 200U);
  EXPECT_GT(coverage.preemptions, 20U);
  EXPECT_GT(coverage.compacted_blocks, 50U);
  EXPECT_GT(coverage.checked, 200U);
  EXPECT_EQ(coverage.engines.size(), 4U) << "every transport";
  EXPECT_EQ(coverage.kv_types.size(), 3U);
  EXPECT_EQ(coverage.kinds.size(), 2U);
}

// Claim C7: the same graph, wherever its memory lies.
TEST(FarHistoryEngines, HaveTheGraphOfEnginesWithoutIt) {
  const Registry registry = make_registry();
  std::uint64_t compared = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    EngineCase setup = draw_far_case(seed);
    if (!fits(setup)) continue;
    const ModelShape& shape = setup.model.shape;
    const FarHistoryRule& rule = setup.engines.front().options.far_history;
    const std::uint32_t block_tokens = rule.block_tokens;
    // Histories so short that entries and radii take more blocks than they replace.
    const std::uint32_t exact_blocks = round_up(shape.max_len, block_tokens) / block_tokens;
    if (far_blocks_needed(rule, shape.max_len, 0).total() > exact_blocks) continue;
    setup.budget.kv_bytes =
        (2 + seed % 7) * round_up(shape.max_len, block_tokens) * shape.kv_bytes_per_token();
    for (EngineSpec& spec : setup.engines) spec.budget = setup.budget;
    const auto model = registry.load_model(setup.model);
    ASSERT_TRUE(model.has_value());
    for (const EngineSpec& spec : setup.engines) {
      if (!pages_fit(setup, spec)) continue;
      EngineSpec without = spec;
      without.options.far_history.enabled = false;
      const auto far = run_engine_case(setup, spec, registry, **model, {.workers = 1});
      const auto exact = run_engine_case(setup, without, registry, **model, {.workers = 1});
      if (!far) continue;  // a rule that needs more than it saves
      ASSERT_TRUE(exact.has_value()) << exact.error().message;
      const EngineUsage& with = far->log.end_usage;
      EXPECT_EQ(with.memory.reserved_bytes, exact->log.end_usage.memory.reserved_bytes);
      EXPECT_TRUE(!kClearsPadding || with.launch_signature == exact->log.end_usage.launch_signature)
          << spec.label;
      EXPECT_NE(with.launch_signature, 0U);
      ++compared;
    }
  }
  EXPECT_GT(compared, 20U);
}

}  // namespace
}  // namespace kvrm
