#include "harness/metrics/totals.h"

#include <algorithm>

#include "harness/base/mutation.h"
#include "harness/result/counters.h"

namespace kvrm {
namespace {

void count_requests(const EventLog& log, EngineResult& engine) {
  for (const RequestRecord& request : log.requests) {
    ++engine.requests.arrived;
    engine.requests.finished += request.state == RequestState::finished ? 1 : 0;
    engine.requests.refused += request.state == RequestState::refused ? 1 : 0;
    engine.requests.in_flight += request.state == RequestState::in_flight ? 1 : 0;
    if (request.admitted >= 0) engine.prompt_tokens += request.prompt_tokens;
    engine.output_tokens += request.output_tokens;
  }
  engine.preemptions =
      KVRM_MUTATE(totals_preemptions_of_last_repeat, engine.preemptions, 0U) + log.preemptions;
  engine.prefilled_tokens += log.prefilled_tokens;
  engine.recomputed_tokens += log.recomputed_tokens;
  engine.wasted_rows += log.wasted_rows;
}

void add_difference(const SizeHistogram& start, const SizeHistogram& end, SizeHistogram& sum) {
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += end[i] - start[i];
}

void add_counters(const EventLog& log, EngineResult& engine) {
  const EngineCounters& start = log.start_usage.counters;
  const EngineCounters& end = log.end_usage.counters;
  for (const CounterField& field : kCounterFields) {
    engine.counters.*field.member +=
        end.*field.member - KVRM_MUTATE(totals_counters_since_start, start.*field.member, 0U);
  }
  engine.launch_hash_changes +=
      log.end_usage.launch_hash_changes - log.start_usage.launch_hash_changes;
  engine.captures_after_warmup += end.captures - start.captures;
  add_difference(log.start_usage.runs_by_blocks, log.end_usage.runs_by_blocks,
                 engine.runs_by_blocks);
  add_difference(log.start_usage.groups_by_blocks, log.end_usage.groups_by_blocks,
                 engine.groups_by_blocks);
}

void raise_peaks(const MemoryUsage& usage, MemoryResult& memory) {
  const auto raise = [](std::uint64_t& peak, std::uint64_t bytes) { peak = std::max(peak, bytes); };
  raise(memory.reserved_bytes_peak, usage.reserved_bytes);
  raise(memory.allocated_bytes_peak, usage.allocated_bytes);
  raise(memory.live_bytes_peak, usage.live_bytes);
  raise(memory.staging_bytes, usage.staging_bytes);
  raise(memory.graph_bytes, usage.graph_bytes);
  raise(memory.metadata_bytes, usage.metadata_bytes);
}

// Usage at the end of a step stands for the time since the step before it completed.
void add_memory(const EventLog& log, MemoryResult& memory) {
  raise_peaks(log.start_usage.memory, memory);
  raise_peaks(log.end_usage.memory, memory);
  Nanoseconds previous = log.steps.empty() ? 0 : log.steps.front().start;
  for (const StepRecord& step : log.steps) {
    raise_peaks(step.memory, memory);
    const double seconds =
        static_cast<double>(step.end - previous) / static_cast<double>(kNanosecondsPerSecond);
    memory.reserved_byte_seconds += static_cast<double>(step.memory.reserved_bytes) * seconds;
    memory.allocated_byte_seconds += static_cast<double>(step.memory.allocated_bytes) * seconds;
    memory.live_byte_seconds += static_cast<double>(step.memory.live_bytes) * seconds;
    previous = KVRM_MUTATE(totals_memory_from_step_start, step.end, step.start);
  }
}

double share(double part, double whole) { return whole == 0 ? 0 : part / whole; }

void fill_memory_means(MemoryResult& memory) {
  const double reserved = memory.reserved_byte_seconds;
  const double allocated = memory.allocated_byte_seconds;
  const double live = memory.live_byte_seconds;
  memory.live_over_reserved_mean = share(live, reserved);
  memory.internal_fragmentation_mean =
      share(allocated - live, KVRM_MUTATE(totals_fragmentation_of_reserved, allocated, reserved));
  memory.external_fragmentation_mean = share(reserved - allocated, reserved);
}

PhaseTimes mean_phases(std::span<const EventLog> logs) {
  PhaseTimes sum;
  Nanoseconds steps = 0;
  for (const EventLog& log : logs) {
    for (const StepRecord& step : log.steps) {
      sum.plan += step.phases.plan;
      sum.commit += step.phases.commit;
      sum.remap += step.phases.remap;
      sum.replay += step.phases.replay;
      sum.sample += step.phases.sample;
      ++steps;
    }
  }
  if (steps == 0) return {};
  return {.plan = sum.plan / steps,
          .commit = sum.commit / steps,
          .remap = sum.remap / steps,
          .replay = sum.replay / steps,
          .sample = sum.sample / steps};
}

Nanoseconds mean_of(std::span<const EventLog> logs, Nanoseconds StepRecord::*member) {
  Nanoseconds sum = 0;
  Nanoseconds steps = 0;
  for (const EventLog& log : logs) {
    for (const StepRecord& step : log.steps) sum += step.*member;
    steps += static_cast<Nanoseconds>(log.steps.size());
  }
  return steps == 0 ? 0 : sum / steps;
}

}  // namespace

std::uint64_t reserved_peak(const EventLog& log) {
  MemoryResult memory;
  add_memory(log, memory);
  return memory.reserved_bytes_peak;
}

void fill_totals(std::span<const EventLog> logs, EngineResult& engine) {
  engine.repeats = static_cast<std::uint32_t>(logs.size());
  for (const EventLog& log : logs) {
    engine.steps += log.steps.size();
    count_requests(log, engine);
    add_counters(log, engine);
    add_memory(log, engine.memory);
  }
  fill_memory_means(engine.memory);
  engine.phase_mean = mean_phases(logs);
  engine.hidden_host_mean = mean_of(logs, &StepRecord::hidden_host);
  engine.exposed_host_mean = mean_of(logs, &StepRecord::exposed_host);
  if (logs.empty()) return;
  engine.output_digest = logs.front().output_digest;
  engine.launch_hash = logs.front().end_usage.launch_hash;
  engine.launch_signature = logs.front().end_usage.launch_signature;
}

}  // namespace kvrm
