// Sums over repeats, counters as differences, memory over time.
#include "harness/metrics/totals.h"

#include <gtest/gtest.h>

#include "harness/metrics/fake_log.h"
#include "harness/result/counters.h"

namespace kvrm {
namespace {

MemoryUsage usage(std::uint64_t reserved, std::uint64_t allocated, std::uint64_t live) {
  return {.reserved_bytes = reserved, .allocated_bytes = allocated, .live_bytes = live};
}

TEST(Totals, MemoryIsWeightedByTheTimeSinceTheLastStep) {
  EventLog log;
  const Nanoseconds second = kNanosecondsPerSecond;
  log.steps = {{.start = 1 * second, .end = 2 * second, .memory = usage(100, 50, 10)},
               {.start = 4 * second, .end = 5 * second, .memory = usage(200, 100, 80)}};
  log.start_usage.memory = usage(300, 0, 0);
  log.end_usage.memory.graph_bytes = 7;
  EngineResult engine;
  fill_totals(std::vector<EventLog>{log, log}, engine);
  const MemoryResult& memory = engine.memory;
  EXPECT_EQ(memory.reserved_bytes_peak, 300U);
  EXPECT_EQ(memory.allocated_bytes_peak, 100U);
  EXPECT_EQ(memory.live_bytes_peak, 80U);
  EXPECT_EQ(memory.graph_bytes, 7U);
  EXPECT_DOUBLE_EQ(memory.reserved_byte_seconds, 2 * (100.0 * 1 + 200 * 3));
  EXPECT_DOUBLE_EQ(memory.allocated_byte_seconds, 2 * (50.0 * 1 + 100 * 3));
  EXPECT_DOUBLE_EQ(memory.live_byte_seconds, 2 * (10.0 * 1 + 80 * 3));
  EXPECT_DOUBLE_EQ(memory.live_over_reserved_mean, 250.0 / 700);
  EXPECT_DOUBLE_EQ(memory.internal_fragmentation_mean, 1 - 250.0 / 350);
  EXPECT_DOUBLE_EQ(memory.external_fragmentation_mean, 1 - 350.0 / 700);
  EXPECT_EQ(reserved_peak(log), 300U);
}

TEST(Totals, CountersAreDifferencesSummedOverRepeats) {
  EventLog log;
  std::uint64_t next = 1;
  for (const CounterField& field : kCounterFields) {
    log.start_usage.counters.*field.member = next;
    log.end_usage.counters.*field.member = 10 * next;
    ++next;
  }
  log.start_usage.launch_hash_changes = 2;
  log.end_usage.launch_hash_changes = 5;
  log.end_usage.launch_hash = 77;
  log.end_usage.launch_signature = 78;
  log.wasted_rows = 11;
  log.preemptions = 3;
  log.recomputed_tokens = 40;
  log.start_usage.runs_by_blocks[3] = 2;
  log.end_usage.runs_by_blocks[3] = 42;
  log.end_usage.groups_by_blocks[15] = 7;
  log.prefilled_tokens = 90;
  EngineResult engine;
  fill_totals(std::vector<EventLog>{log, log}, engine);
  next = 1;
  for (const CounterField& field : kCounterFields) {
    EXPECT_EQ(engine.counters.*field.member, 2 * 9 * next) << field.name;
    ++next;
  }
  EXPECT_EQ(engine.captures_after_warmup, engine.counters.captures);
  EXPECT_EQ(engine.runs_by_blocks[3], 2 * 40U);
  EXPECT_EQ(engine.groups_by_blocks[15], 2 * 7U);
  EXPECT_EQ(engine.launch_hash_changes, 6U);
  EXPECT_EQ(engine.launch_hash, 77U);
  EXPECT_EQ(engine.launch_signature, 78U);
  EXPECT_EQ(engine.wasted_rows, 22U);
  EXPECT_EQ(engine.preemptions, 6U);
  EXPECT_EQ(engine.recomputed_tokens, 80U);
  EXPECT_EQ(engine.prefilled_tokens, 180U);
  EXPECT_EQ(engine.repeats, 2U);
}

TEST(Totals, PromptTokensAreThoseOfAdmittedRequestsAndPhasesAreMeans) {
  EventLog log = fake_log({.requests = 4});
  log.requests[3].state = RequestState::refused;
  log.requests[3].admitted = -1;
  log.requests[3].output_tokens = 0;
  for (std::size_t i = 0; i < log.steps.size(); ++i) {
    log.steps[i].phases = {
        .plan = 10, .commit = 20, .remap = 7, .replay = i < 6 ? 100 : 300, .sample = 5};
    log.steps[i].hidden_host = i < 6 ? 4 : 8;
    log.steps[i].exposed_host = i < 6 ? 30 : 50;
  }
  EngineResult engine;
  fill_totals(std::vector<EventLog>{log}, engine);
  EXPECT_EQ(engine.prompt_tokens, 15U);
  EXPECT_EQ(engine.output_tokens, 12U);
  EXPECT_EQ(engine.steps, 12U);
  EXPECT_EQ(engine.phase_mean.plan, 10);
  EXPECT_EQ(engine.phase_mean.commit, 20);
  EXPECT_EQ(engine.phase_mean.remap, 7);
  EXPECT_EQ(engine.phase_mean.replay, 200);
  EXPECT_EQ(engine.phase_mean.sample, 5);
  EXPECT_EQ(engine.hidden_host_mean, 6);
  EXPECT_EQ(engine.exposed_host_mean, 40);
}

}  // namespace
}  // namespace kvrm
