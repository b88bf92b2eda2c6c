// The driver and the metrics as a queueing system with a known answer: open-loop Poisson arrivals
// of the real generator, servers with drawn times, an injected clock. Waiting times are within 2%
// of theory (Erlang 1917; Pollaczek 1930), which a driver that measures from the moment of sending,
// that lets anyone pass the queue or that loses time between steps does not reach.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "harness/base/prng.h"
#include "harness/driver/drive.h"
#include "harness/metrics/summarise.h"
#include "property_tests/measurement/queue_engine.h"
#include "workloads/generators/open_workload.h"

namespace kvrm::queueing {
namespace {

constexpr double kMeanServiceMs = 1;
constexpr double kTolerance = 0.02;
constexpr std::uint64_t kRequests = 1'000'000;

struct System {
  std::uint32_t servers = 1;
  double load = 0.5;  // of each server
  bool constant_service = false;
};

double arrivals_per_ms(const System& system) {
  return system.load * system.servers / kMeanServiceMs;
}

WorkloadSpec poisson(double per_ms, std::uint64_t seed) {
  WorkloadSpec spec;
  spec.seed = seed;
  spec.requests = kRequests;
  spec.arrivals.kind = ArrivalSpec::Kind::poisson;
  spec.arrivals.rate_per_s = per_ms * 1000;
  spec.prompt_tokens = {.kind = LengthSpec::Kind::fixed, .value = 1};
  spec.output_tokens = {.kind = LengthSpec::Kind::fixed, .value = 1};
  return spec;
}

EventLog serve(const System& system, std::uint64_t seed) {
  auto workload = open_workload(poisson(arrivals_per_ms(system), seed));
  EXPECT_TRUE(workload.has_value());
  ServedStream stream(**workload);
  RandomStream random(seed, "service");
  const auto draw_service = [&] {
    const double ms = system.constant_service ? kMeanServiceMs : random.exponential(kMeanServiceMs);
    return static_cast<Nanoseconds>(std::llround(ms * 1e6));
  };
  ManualClock clock;
  QueueEngine engine(system.servers, draw_service, stream, clock);
  DriveOptions options;
  options.budget = {
      .kv_bytes = 1, .max_batch = system.servers, .max_len = 1U << 30, .prefill_tokens = 1U << 30};
  options.vocabulary = 2;
  options.expected_requests = kRequests;
  options.samples = {.longest = 0, .preempted = 0, .random = 0, .seed = 0};
  Result<EventLog> log = drive(engine, stream, {}, options, clock);
  EXPECT_TRUE(log.has_value());
  return std::move(*log);
}

struct Waits {
  double mean_ms = 0;
  double waited_share = 0;  // of those who waited at all
};

Waits waits_of(const EventLog& log) {
  Waits waits;
  for (const RequestRecord& record : log.requests) {
    EXPECT_EQ(record.state, RequestState::finished);
    EXPECT_EQ(record.enqueued, record.intended_arrival) << "the server's time is not the lag";
    EXPECT_EQ(record.admitted, record.first_token);
    const Nanoseconds wait = record.admitted - record.intended_arrival;
    waits.mean_ms += static_cast<double>(wait) / 1e6 / kRequests;
    waits.waited_share += (wait > 0 ? 1.0 : 0.0) / kRequests;
    if (::testing::Test::HasFailure()) break;
  }
  return waits;
}

// Erlang C: the share that waits with `servers` servers and `erlangs` of work offered.
double waiting_share(std::uint32_t servers, double erlangs) {
  double blocked = 1;  // Erlang B, by its recursion
  for (std::uint32_t n = 1; n <= servers; ++n)
    blocked = erlangs * blocked / (n + erlangs * blocked);
  const double load = erlangs / servers;
  return blocked / (1 - load * (1 - blocked));
}

void expect_near_theory(const System& system, std::uint64_t seed) {
  SCOPED_TRACE("serve({" + std::to_string(system.servers) + ", " + std::to_string(system.load) +
               "}, " + std::to_string(seed) + ")");
  const EventLog log = serve(system, seed);
  ASSERT_EQ(log.requests.size(), kRequests);
  const Waits waits = waits_of(log);
  const double share = waiting_share(system.servers, system.load * system.servers);
  const double exponential_ms = share * kMeanServiceMs / (system.servers * (1 - system.load));
  const double expected_ms = system.constant_service ? exponential_ms / 2 : exponential_ms;
  EXPECT_NEAR(waits.mean_ms / expected_ms, 1, kTolerance);
  EXPECT_NEAR(waits.waited_share / share, 1, kTolerance);
}

TEST(Queueing, ConstantServiceAtOneServer) {  // M/D/1: half of M/M/1's wait
  expect_near_theory({.servers = 1, .load = 0.5, .constant_service = true}, 1);
  expect_near_theory({.servers = 1, .load = 0.7, .constant_service = true}, 2);
}

TEST(Queueing, ExponentialServiceAtOneServer) {  // M/M/1
  expect_near_theory({.servers = 1, .load = 0.3}, 3);
  expect_near_theory({.servers = 1, .load = 0.5}, 4);
}

TEST(Queueing, ExponentialServiceAtManyServers) {  // M/M/k
  expect_near_theory({.servers = 2, .load = 0.5}, 5);
  expect_near_theory({.servers = 5, .load = 0.7}, 6);
}

// In M/M/1 the whole stay is exponential too, so that every percentile is known.
TEST(Queueing, PercentilesOfTheStayAreThoseOfTheory) {
  const System system{.servers = 1, .load = 0.5};
  const std::vector<std::vector<EventLog>> logs = {{serve(system, 7)}};
  ExperimentPoint point;
  point.driver.warmup_share = 0.01;
  point.workload.arrivals.kind = ArrivalSpec::Kind::poisson;
  std::vector<EngineResult> engines(1);
  engines[0].info.label = "queue";
  engines[0].status = RunStatus::unchecked;
  summarise_point(point, engines, logs);
  ASSERT_TRUE(engines[0].metrics.has_value());
  const PercentileRow& stay = engines[0].metrics->latency.e2e_ms;
  const double mean_ms = kMeanServiceMs / (1 - system.load);
  for (const auto& [name, share] :
       {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}}) {
    EXPECT_NEAR(stay.at(name)->value / (-std::log(1 - share) * mean_ms), 1, kTolerance) << name;
  }
  EXPECT_EQ(engines[0].metrics->generator_lag_ms_p99.value, 0);
}

}  // namespace
}  // namespace kvrm::queueing
