// The same case twice gives the same run: requests, tokens, every counter, every step's rows,
// groups and bytes, however many workers there were (DESIGN 19, 23). Times are the machine's own.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "harness/result/counters.h"
#include "property_tests/differential/engine_cases.h"

namespace kvrm {
namespace {

// Of the step's facts those that are not times.
bool same_step(const StepRecord& a, const StepRecord& b) {
  return a.active_slots == b.active_slots && a.prefill_tokens == b.prefill_tokens &&
         a.waiting_requests == b.waiting_requests && a.groups == b.groups &&
         a.moved_bytes == b.moved_bytes && a.memory.reserved_bytes == b.memory.reserved_bytes &&
         a.memory.allocated_bytes == b.memory.allocated_bytes &&
         a.memory.live_bytes == b.memory.live_bytes;
}

bool same_request(const RequestRecord& a, const RequestRecord& b) {
  return a.id == b.id && a.state == b.state && a.output_tokens == b.output_tokens &&
         a.preemptions == b.preemptions && a.recomputed_tokens == b.recomputed_tokens &&
         a.output_digest == b.output_digest;
}

void expect_same(const EventLog& a, const EventLog& b) {
  EXPECT_EQ(a.workload_digest, b.workload_digest);
  EXPECT_EQ(a.output_digest, b.output_digest);
  EXPECT_EQ(a.output_tokens, b.output_tokens);
  EXPECT_TRUE(std::ranges::equal(a.requests, b.requests, same_request));
  EXPECT_TRUE(std::ranges::equal(a.steps, b.steps, same_step));
  if (kClearsPadding) {
    EXPECT_EQ(a.end_usage.launch_signature, b.end_usage.launch_signature);
  }
  EXPECT_EQ(a.end_usage.runs_by_blocks, b.end_usage.runs_by_blocks);
  EXPECT_EQ(a.end_usage.groups_by_blocks, b.end_usage.groups_by_blocks);
  for (const CounterField& field : kCounterFields) {
    EXPECT_EQ(a.end_usage.counters.*field.member, b.end_usage.counters.*field.member) << field.name;
  }
}

TEST(Repeat, SameCaseSameRunOnAnyNumberOfWorkers) {
  const Registry registry = make_registry();
  std::uint64_t preemptions = 0;
  std::uint64_t moved = 0;
  for (std::uint64_t seed = 2000; seed < 2040 && !HasFailure(); ++seed) {
    const EngineCase setup = draw_engine_case(seed);
    SCOPED_TRACE("draw_engine_case(" + std::to_string(seed) + "): " + setup.describe());
    const auto model = registry.load_model(setup.model);
    ASSERT_TRUE(model.has_value());
    for (const EngineSpec& spec : setup.engines) {
      SCOPED_TRACE(spec.label);
      const auto first = run_engine_case(setup, spec, registry, **model, {.workers = 1});
      const auto second = run_engine_case(setup, spec, registry, **model, {.workers = 2});
      ASSERT_TRUE(first.has_value() && second.has_value());
      expect_same(first->log, second->log);
      preemptions += first->log.preemptions;
      moved += first->log.end_usage.counters.moved_bytes;
    }
  }
  EXPECT_GT(preemptions, 10U);
  EXPECT_GT(moved, 100'000U);
}

}  // namespace
}  // namespace kvrm
