// Injected latencies come out of the metrics exactly: a scripted engine notes when it gave each
// token, and every percentile of every latency is that of the plain definition over those notes,
// through preemption, overlap, closed loops, time limits and requests that were refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "harness/metrics/summarise.h"
#include "property_tests/measurement/random_run.h"

namespace kvrm::measurement {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Expected {
  std::map<std::string, std::vector<double>> ms;  // by metric
  std::uint64_t tokens = 0;
};

double in_ms(Nanoseconds time) { return static_cast<double>(time) / 1e6; }

// A request's latencies from its tokens' times alone. In a closed loop it arrives when another
// ends, which only the log knows.
void add_request(const Request& request, Nanoseconds arrival,
                 const std::vector<Nanoseconds>& tokens, Expected& expected) {
  expected.tokens += tokens.size();
  expected.ms["ttft"].push_back(tokens.empty() ? kInfinity : in_ms(tokens.front() - arrival));
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    expected.ms["itl"].push_back(in_ms(tokens[i] - tokens[i - 1]));
  }
  const bool finished = tokens.size() == request.output_tokens;
  expected.ms["e2e"].push_back(finished ? in_ms(tokens.back() - arrival) : kInfinity);
  if (request.output_tokens == 1) return;
  const double gaps = static_cast<double>(request.output_tokens) - 1;
  const Nanoseconds decoding = finished ? tokens.back() - tokens.front() : 0;
  expected.ms["tpot"].push_back(finished ? in_ms(decoding) / gaps : kInfinity);
}

void add_run(const RandomRun& run, const EventLog& log, Expected& expected) {
  for (const RequestRecord& record : log.requests) {
    const Request& request = run.requests[record.id];
    if (!run.fits(request)) continue;
    const auto tokens = run.timeline.tokens.find(record.id);
    const Nanoseconds arrival = run.closed ? record.intended_arrival : request.arrival;
    add_request(request, arrival,
                tokens == run.timeline.tokens.end() ? std::vector<Nanoseconds>() : tokens->second,
                expected);
  }
  const std::vector<Nanoseconds>& ends = run.timeline.step_ends;
  for (std::size_t i = 1; i < ends.size(); ++i) {
    expected.ms["step"].push_back(in_ms(ends[i] - ends[i - 1]));
  }
}

// The smallest value that at least so many thousandths of all do not exceed.
double percentile(std::vector<double> values, std::uint64_t per_mille) {
  std::ranges::sort(values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if ((i + 1) * 1000 >= values.size() * per_mille) return values[i];
  }
  return kInfinity;
}

void expect_row(const PercentileRow& row, const std::vector<double>& values,
                const std::string& name) {
  const std::map<std::string, std::uint64_t> shares = {{"p50", 500}, {"p90", 900},   {"p95", 950},
                                                       {"p99", 990}, {"p99.9", 999}, {"max", 1000}};
  ASSERT_EQ(row.size(), shares.size());
  for (const auto& [percentile_name, entry] : row) {
    ASSERT_EQ(entry.has_value(), !values.empty()) << name << ' ' << percentile_name;
    if (!entry) continue;
    EXPECT_DOUBLE_EQ(entry->value, percentile(values, shares.at(percentile_name)))
        << name << ' ' << percentile_name << " of " << values.size();
  }
}

EngineResult summarise(std::vector<EventLog> logs) {
  ExperimentPoint point;
  point.driver.warmup_share = 0;
  point.output.point_estimates = true;
  std::vector<EngineResult> engines(1);
  engines[0].info.label = "fake";
  engines[0].status = RunStatus::verified;
  const std::vector<std::vector<EventLog>> all = {std::move(logs)};
  summarise_point(point, engines, all);
  return engines[0];
}

TEST(ExactLatency, OfAScriptedEngineComesOutOfTheMetrics) {
  std::uint64_t preemptions = 0;
  std::uint64_t refused = 0;
  std::uint64_t in_flight = 0;
  std::uint64_t wasted_rows = 0;
  for (std::uint64_t seed = 0; seed < 300 && !HasFailure(); ++seed) {
    SCOPED_TRACE("RandomRun(" + std::to_string(2 * seed) + ") and the next");
    Expected expected;
    std::vector<EventLog> logs;
    for (const std::uint64_t repeat : {0, 1}) {
      RandomRun run(2 * seed + repeat);
      logs.push_back(run.run());
      logs.back().repeat = static_cast<std::uint32_t>(repeat);
      add_run(run, logs.back(), expected);
    }
    const EngineResult result = summarise(std::move(logs));
    const LatencyMetrics& latency = result.metrics->latency;
    expect_row(latency.ttft_ms, expected.ms["ttft"], "ttft");
    expect_row(latency.itl_ms, expected.ms["itl"], "itl");
    expect_row(latency.tpot_ms, expected.ms["tpot"], "tpot");
    expect_row(latency.e2e_ms, expected.ms["e2e"], "e2e");
    expect_row(latency.step_ms, expected.ms["step"], "step");
    const double tokens = result.metrics->output_tokens_per_s.value * result.metrics->measured_s;
    EXPECT_NEAR(tokens, static_cast<double>(expected.tokens), 1e-6);
    EXPECT_EQ(result.metrics->generator_lag_ms_p99.value, 0);
    preemptions += result.preemptions;
    refused += result.requests.refused;
    in_flight += result.requests.in_flight;
    wasted_rows += result.wasted_rows;
  }
  EXPECT_GT(preemptions, 100U);
  EXPECT_GT(refused, 100U);
  EXPECT_GT(in_flight, 100U);
  EXPECT_GT(wasted_rows, 100U);
}

}  // namespace
}  // namespace kvrm::measurement
