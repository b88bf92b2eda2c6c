// Test only: a random small workload over a scripted engine, from one seed: memory tight enough to
// preempt, drawn times, requests that cannot fit, sometimes a time limit or overlap. Notes every
// token and step as the engine gave it, beside what the driver writes down.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "harness/base/prng.h"
#include "harness/driver/fake_engine.h"

namespace kvrm::measurement {

// What the engine did, on its own clock.
struct Timeline {
  std::map<RequestId, std::vector<Nanoseconds>> tokens;
  std::vector<Nanoseconds> step_ends;
  std::uint64_t rows = 0;      // of decode steps
  std::uint64_t prefills = 0;  // chunks
};

class RandomRun {
 public:
  explicit RandomRun(std::uint64_t seed) : random_(seed, "random run") {
    if (chance(0.5)) script.shape = fake_shape(ModelKind::attention_only);
    script.info.slots = between(1, 8);
    script.info.max_history_tokens = between(4, 40);
    script.block_tokens = between(1, 4);
    const std::uint64_t least = round_up(script.info.max_history_tokens, script.block_tokens);
    script.capacity_tokens = least + (chance(0.3) ? 0 : between(0, 100));
    overlap = chance(0.3);
    closed = chance(0.3);
    if (chance(0.3)) time_limit = between(1, 30'000);
    const auto count = between(0, 60);
    for (RequestId id = 0; id < count; ++id) {
      const auto arrival = static_cast<Nanoseconds>(id) * 137;
      requests.push_back(fake_request(id, closed ? 0 : arrival, between(0, 25), between(0, 25)));
    }
  }

  EventLog run() {
    ManualClock clock;
    clock.advance(between(0, 1000));  // the log's zero is the run's start
    const Nanoseconds origin = static_cast<Clock&>(clock).now();
    bool in_step = false;
    std::atomic<bool> stop = false;
    script.clock = &clock;
    script.prefill_time = [&](const PrefillChunk&) {
      in_step = false;
      ++timeline.prefills;
      return Nanoseconds{between(0, 500)};
    };
    script.step_time = [&](const StepPlan& plan) {
      in_step = true;
      timeline.rows += plan.slots.size();
      timeline.step_ends.push_back(-1);
      stop = most_steps > 0 && timeline.step_ends.size() > most_steps;
      return Nanoseconds{between(1, 300)};
    };
    script.prepare_time = [&](const StepPlan&) { return Nanoseconds{between(0, 400)}; };
    script.fault = [&](const FakeRow& row) {
      const Nanoseconds now = static_cast<Clock&>(clock).now() - origin;
      timeline.tokens[row.request].push_back(now);
      if (in_step) timeline.step_ends.back() = now;
    };
    DriveOptions options = fake_options(script);
    options.budget.prefill_tokens = between(1, 30);
    options.overlap = overlap;
    options.time_limit = time_limit;
    options.stop = &stop;
    engine.emplace(script);
    ListStream stream(requests);
    Result<EventLog> log =
        drive(*engine, stream, {.closed = closed, .concurrency = between(1, 8)}, options, clock);
    KVRM_CHECK(log.has_value());
    return std::move(*log);
  }

  bool fits(const Request& request) const {
    return request.prompt_tokens > 0 && request.output_tokens > 0 &&
           request.prompt_tokens + request.output_tokens - 1 <= script.info.max_history_tokens;
  }

  FakeScript script;
  std::vector<Request> requests;
  Nanoseconds time_limit = 0;
  std::uint64_t most_steps = 0;  // 0: any number; beyond it the run is stopped
  bool overlap = false;
  bool closed = false;
  Timeline timeline;
  std::optional<FakeEngine> engine;

 private:
  std::uint32_t between(std::uint32_t low, std::uint32_t high) {
    return low + static_cast<std::uint32_t>(random_.below(high - low + 1));
  }
  bool chance(double probability) { return random_.uniform() < probability; }

  RandomStream random_;
};

}  // namespace kvrm::measurement
