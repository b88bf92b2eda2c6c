// Event logs made up for tests, with latencies chosen by hand. Not a driver.
#pragma once

#include <cstdint>

#include "harness/base/units.h"
#include "harness/config/experiment.h"
#include "harness/result/event_log.h"
#include "harness/result/results.h"

namespace kvrm {

inline constexpr Nanoseconds kMs = kNanosecondsPerMillisecond;

struct FakeRun {
  std::uint32_t requests = 10;
  std::uint32_t output_tokens = 4;
  Nanoseconds arrival_gap = 10 * kMs;
  Nanoseconds ttft = 3 * kMs;
  Nanoseconds gap = 2 * kMs;
  std::uint32_t repeat = 0;
};

// One request after another: request i arrives at i * arrival_gap, its first token comes `ttft`
// later, the others each `gap` after. Every later token is a step of its own.
inline EventLog fake_log(const FakeRun& run) {
  EventLog log;
  log.repeat = run.repeat;
  for (std::uint32_t i = 0; i < run.requests; ++i) {
    const Nanoseconds arrival = i * run.arrival_gap;
    RequestRecord request{.id = i,
                          .state = RequestState::finished,
                          .prompt_tokens = 5,
                          .output_budget = run.output_tokens,
                          .output_tokens = run.output_tokens,
                          .intended_arrival = arrival,
                          .enqueued = arrival,
                          .admitted = arrival,
                          .first_token = arrival + run.ttft};
    Nanoseconds now = request.first_token;
    for (std::uint32_t token = 1; token < run.output_tokens; ++token) {
      log.gaps.push_back({run.gap, static_cast<std::uint32_t>(log.steps.size()), i});
      log.steps.push_back({.start = now, .end = now + run.gap, .active_slots = 1});
      now += run.gap;
    }
    request.finished = now;
    log.duration = now;
    log.requests.push_back(request);
  }
  return log;
}

inline EngineResult fake_engine(const std::string& label, RunStatus status = RunStatus::verified) {
  EngineResult engine;
  engine.info.kind = label;
  engine.info.label = label;
  engine.status = status;
  return engine;
}

inline ExperimentPoint fake_point() {
  ExperimentPoint point;
  point.driver.warmup_share = 0;
  point.workload.arrivals.kind = ArrivalSpec::Kind::trace;
  return point;
}

}  // namespace kvrm
