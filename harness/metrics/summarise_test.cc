// Injected latencies come out exactly: the five latencies, rates, the n/a rule, warm-up, what an
// unfinished or refused request does, and which statuses carry anything.
#include "harness/metrics/summarise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "harness/metrics/dictionary.h"
#include "harness/metrics/fake_log.h"
#include "harness/metrics/samples.h"

namespace kvrm {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

EngineResult summarise(const ExperimentPoint& point, std::vector<EventLog> logs,
                       RunStatus status = RunStatus::verified) {
  std::vector<EngineResult> engines = {fake_engine("kvrm", status)};
  const std::vector<std::vector<EventLog>> all = {std::move(logs)};
  summarise_point(point, engines, all);
  return engines[0];
}

void expect_exact(const PercentileRow& row, const std::string& percentile, double value) {
  const auto& entry = row.at(percentile);
  ASSERT_TRUE(entry.has_value()) << percentile;
  EXPECT_DOUBLE_EQ(entry->value, value) << percentile;
  EXPECT_DOUBLE_EQ(entry->low, value) << percentile;
  EXPECT_DOUBLE_EQ(entry->high, value) << percentile;
}

TEST(Summarise, ConstantLatenciesComeOutExactly) {
  const EngineResult engine = summarise(fake_point(), {fake_log({.requests = 100})});
  ASSERT_TRUE(engine.metrics.has_value());
  const LatencyMetrics& latency = engine.metrics->latency;
  for (const char* percentile : {"p50", "p90", "p95", "max"}) {
    expect_exact(latency.ttft_ms, percentile, 3);
    expect_exact(latency.itl_ms, percentile, 2);
    expect_exact(latency.tpot_ms, percentile, 2);
    expect_exact(latency.e2e_ms, percentile, 9);
  }
  // 200 of 299 steps follow one of the same request; 99 wait for the next one: 10 - 4 ms apart.
  expect_exact(latency.step_ms, "p50", 2);
  EXPECT_DOUBLE_EQ(latency.step_ms.at("max")->value, 6);
  EXPECT_TRUE(latency.from_histogram.empty());
  EXPECT_EQ(engine.metrics->generator_lag_ms_p99.value, 0);
  EXPECT_DOUBLE_EQ(engine.metrics->measured_s, 0.999);
  EXPECT_DOUBLE_EQ(engine.metrics->output_tokens_per_s.value, 400 / 0.999);
  EXPECT_DOUBLE_EQ(engine.metrics->goodput_per_s.value, 100 / 0.999);
}

TEST(Summarise, OneSlowRequestShowsWhereItShould) {
  EventLog log = fake_log({.requests = 100});
  log.requests[40].intended_arrival -= 50 * kMs;  // it waited 50 ms more than the others
  const LatencyMetrics latency = summarise(fake_point(), {log}).metrics->latency;
  EXPECT_DOUBLE_EQ(latency.ttft_ms.at("max")->value, 53);
  EXPECT_DOUBLE_EQ(latency.e2e_ms.at("max")->value, 59);
  EXPECT_DOUBLE_EQ(latency.ttft_ms.at("p95")->value, 3);
  EXPECT_DOUBLE_EQ(latency.tpot_ms.at("max")->value, 2);
  EXPECT_DOUBLE_EQ(latency.itl_ms.at("max")->value, 2);
}

TEST(Summarise, PercentilesNeedTheirObservations) {
  const auto known = [](std::uint32_t requests, bool point_estimates) {
    ExperimentPoint point = fake_point();
    point.output.point_estimates = point_estimates;
    std::set<std::string> names;
    const auto row = summarise(point, {fake_log({.requests = requests})}).metrics->latency.ttft_ms;
    for (const auto& [name, entry] : row) {
      if (entry) names.insert(name);
    }
    EXPECT_EQ(row.size(), 6U);
    return names;
  };
  using Names = std::set<std::string>;
  EXPECT_EQ(known(6, false), (Names{"max"}));
  EXPECT_EQ(known(43, false), (Names{"p50", "max"}));
  EXPECT_EQ(known(44, false), (Names{"p50", "p90", "max"}));
  EXPECT_EQ(known(458, false), (Names{"p50", "p90", "p95", "max"}));
  EXPECT_EQ(known(459, false), (Names{"p50", "p90", "p95", "p99", "max"}));
  EXPECT_EQ(known(4603, false), (Names{"p50", "p90", "p95", "p99", "p99.9", "max"}));
  EXPECT_EQ(known(6, true), (Names{"p50", "p90", "p95", "p99", "p99.9", "max"}));
}

TEST(Summarise, TokensOfOneStepAreOneObservation) {
  EventLog log = fake_log({.requests = 43, .output_tokens = 2});  // 43 steps
  const std::vector<TokenGap> gaps = log.gaps;
  for (int copy = 0; copy < 20; ++copy) {
    log.gaps.insert(log.gaps.end(), gaps.begin(), gaps.end());
  }
  const LatencyMetrics latency = summarise(fake_point(), {log}).metrics->latency;
  EXPECT_FALSE(latency.itl_ms.at("p90").has_value());
  EXPECT_TRUE(latency.itl_ms.at("p50").has_value());
}

TEST(Summarise, UnfinishedIsInfiniteAndRefusedIsNoLatency) {
  EventLog log = fake_log({.requests = 100});
  for (std::size_t i = 0; i < 6; ++i) {
    log.requests[10 * i].state = RequestState::in_flight;
    log.requests[10 * i].finished = -1;
  }
  log.requests[10].first_token = -1;
  RequestRecord refused = log.requests[99];
  refused.state = RequestState::refused;
  refused.admitted = refused.first_token = refused.finished = -1;
  log.requests.push_back(refused);
  const EngineResult engine = summarise(fake_point(), {log});
  const LatencyMetrics& latency = engine.metrics->latency;
  EXPECT_DOUBLE_EQ(latency.e2e_ms.at("p90")->value, 9);
  EXPECT_EQ(latency.e2e_ms.at("p95")->value, kInfinity);
  EXPECT_EQ(latency.e2e_ms.at("p95")->high, kInfinity);
  EXPECT_EQ(latency.tpot_ms.at("max")->value, kInfinity);
  EXPECT_EQ(latency.ttft_ms.at("max")->value, kInfinity);
  EXPECT_DOUBLE_EQ(latency.ttft_ms.at("p95")->value, 3);
  EXPECT_EQ(engine.requests.finished, 94U);
  EXPECT_EQ(engine.requests.in_flight, 6U);
  EXPECT_EQ(engine.requests.refused, 1U);
  EXPECT_EQ(engine.requests.arrived, 101U);
  EXPECT_DOUBLE_EQ(engine.metrics->goodput_per_s.value, 94 / 0.999);
}

TEST(Summarise, OneTokenHasNoTimeBetweenTokens) {
  EventLog log = fake_log({.requests = 10, .output_tokens = 1});
  log.requests[3].state = RequestState::in_flight;
  log.requests[3].first_token = log.requests[3].finished = -1;
  const LatencyMetrics latency = summarise(fake_point(), {log}).metrics->latency;
  EXPECT_FALSE(latency.tpot_ms.at("max").has_value());
  EXPECT_FALSE(latency.itl_ms.at("max").has_value());
  EXPECT_EQ(latency.e2e_ms.at("max")->value, kInfinity);
}

TEST(Summarise, WarmUpIsCutWhereItsShareHasFinished) {
  EventLog log = fake_log({.requests = 100});
  // The first ten are slow in every way; request 9 finishes at 99 ms, which ends the warm-up.
  for (std::size_t i = 0; i < 10; ++i) log.requests[i].intended_arrival -= 1000 * kMs;
  for (std::size_t i = 0; i < 30; ++i) log.gaps[i].gap = 500 * kMs;
  log.steps[29].end -= 40 * kMs;  // the last step of warm-up: the wait after it is not measured
  ExperimentPoint point = fake_point();
  point.driver.warmup_share = 0.1;
  const RunMetrics metrics = *summarise(point, {log}).metrics;
  EXPECT_DOUBLE_EQ(metrics.latency.ttft_ms.at("max")->value, 3);
  EXPECT_DOUBLE_EQ(metrics.latency.e2e_ms.at("max")->value, 9);
  EXPECT_DOUBLE_EQ(metrics.latency.itl_ms.at("max")->value, 2);
  EXPECT_DOUBLE_EQ(metrics.latency.step_ms.at("max")->value, 6);
  EXPECT_DOUBLE_EQ(metrics.measured_s, 0.9);
  EXPECT_DOUBLE_EQ(metrics.output_tokens_per_s.value, 360 / 0.9);
  EXPECT_DOUBLE_EQ(metrics.goodput_per_s.value, 90 / 0.9);
  point.driver.warmup_share = 0.09;
  EXPECT_DOUBLE_EQ(summarise(point, {log}).metrics->latency.ttft_ms.at("max")->value, 1003);
  point.driver.warmup_share = 0.091;  // a part of a request is a request
  EXPECT_DOUBLE_EQ(summarise(point, {log}).metrics->latency.ttft_ms.at("max")->value, 3);
}

TEST(Summarise, GoodputCountsWhoMetEverySlo) {
  EventLog log = fake_log({.requests = 10});
  log.requests[0].intended_arrival -= 10 * kMs;  // TTFT 13, E2E 19
  log.gaps[3 * 5].gap = 4 * kMs;                 // request 5
  log.requests[7].finished += 3 * kMs;           // E2E 12
  const auto good = [&](SloSpec slo) {
    ExperimentPoint point = fake_point();
    point.slo = slo;
    const RunMetrics metrics = *summarise(point, {log}).metrics;
    return metrics.goodput_per_s.value * metrics.measured_s;
  };
  EXPECT_NEAR(good({}), 10, 1e-9);
  EXPECT_NEAR(good({.ttft_ms = 3}), 9, 1e-9);
  EXPECT_NEAR(good({.itl_ms = 3}), 9, 1e-9);
  EXPECT_NEAR(good({.e2e_ms = 12}), 9, 1e-9);
  EXPECT_NEAR(good({.ttft_ms = 3, .itl_ms = 3, .e2e_ms = 9}), 7, 1e-9);
}

TEST(Summarise, OnlyVerifiedKindsGetMetrics) {
  const std::vector<EventLog> logs = {fake_log({})};
  for (const RunStatus status : {RunStatus::incorrect, RunStatus::invalid, RunStatus::incomplete}) {
    const EngineResult engine = summarise(fake_point(), logs, status);
    EXPECT_FALSE(engine.metrics.has_value()) << run_status_name(status);
    EXPECT_EQ(engine.requests.finished, 10U);
    EXPECT_EQ(engine.output_tokens, 40U);
  }
  EXPECT_TRUE(summarise(fake_point(), logs, RunStatus::unchecked).metrics.has_value());
}

TEST(Summarise, SteadyNeedsEveryRepeat) {
  const EventLog even = fake_log({.requests = 200});
  EventLog drifting = even;
  Nanoseconds shift = 0;
  for (std::size_t i = 300; i < drifting.steps.size(); ++i) {
    shift += kMs;
    drifting.steps[i].end += shift;
  }
  drifting.requests.back().admitted = drifting.duration = drifting.steps.back().end;
  EXPECT_TRUE(summarise(fake_point(), {even, even}).metrics->steady);
  EXPECT_FALSE(summarise(fake_point(), {even, drifting}).metrics->steady);
  // What changes only once the last request is in is the batch that empties.
  for (RequestRecord& request : drifting.requests) {
    request.admitted = std::min(request.admitted, drifting.steps[299].end);
  }
  EXPECT_TRUE(summarise(fake_point(), {even, drifting}).metrics->steady);
}

TEST(Summarise, GeneratorLagIsItsNinetyNinthPercentile) {
  EventLog log = fake_log({.requests = 1000});
  for (std::size_t i = 0; i < 11; ++i) log.requests[i * 50].enqueued += 7 * kMs;
  const std::vector<EventLog> logs = {log};
  EXPECT_DOUBLE_EQ(generator_lag_ms_p99(logs), 7);
  EXPECT_DOUBLE_EQ(summarise(fake_point(), logs).metrics->generator_lag_ms_p99.value, 7);
  log.requests[0].enqueued = log.requests[0].intended_arrival;
  EXPECT_DOUBLE_EQ(generator_lag_ms_p99(std::vector<EventLog>{log}), 0);
  EXPECT_EQ(generator_lag_ms_p99({}), 0);
}

TEST(Summarise, EmptyRunsGiveNoLatencyAndNoDivisionByZero) {
  const EngineResult engine = summarise(fake_point(), {EventLog{}});
  ASSERT_TRUE(engine.metrics.has_value());
  EXPECT_EQ(engine.metrics->output_tokens_per_s.value, 0);
  for (const auto& [name, entry] : engine.metrics->latency.e2e_ms) EXPECT_FALSE(entry) << name;
  EXPECT_FALSE(engine.metrics->steady);
}

TEST(Dictionary, NamesAreUniqueAndNothingIsBlank) {
  std::set<std::string_view> names;
  for (const MetricEntry& entry : metric_dictionary()) {
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
    for (const auto text : {entry.formula, entry.anchor, entry.unit, entry.pooling}) {
      EXPECT_FALSE(text.empty()) << entry.name;
    }
  }
  EXPECT_THAT(names, ::testing::IsSupersetOf({"metrics.ttft_ms", "comparisons.ratio"}));
}

}  // namespace
}  // namespace kvrm
