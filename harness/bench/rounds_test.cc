// Rounds: order, pairing of probes, and the figures made of them.
#include "harness/bench/rounds.h"

#include <gtest/gtest.h>

#include <set>

namespace kvrm {
namespace {

double figure(const BenchRow& row, const std::string& name) {
  for (const BenchFigure& found : row.figures) {
    if (found.name == name) return found.value;
  }
  ADD_FAILURE() << "no figure " << name;
  return 0;
}

// Notes what was called, and says that the probe of call n gave n + 1 GB/s.
struct Notebook {
  RoundCase bench(const std::string& name) {
    return {.design = name, .work = 1000, .operations = 1, .measure = [this, name] {
              calls.push_back(name);
              return Nanoseconds{100};
            }};
  }
  double probe() {
    calls.emplace_back("probe");
    return ++probes;
  }

  std::vector<std::string> calls;
  int probes = 0;
};

TEST(Rounds, RunEveryCaseOnceARoundBetweenTwoProbesInChangingOrders) {
  Notebook book;
  const std::vector<RoundCase> cases = {book.bench("a"), book.bench("b"), book.bench("c")};
  constexpr std::uint32_t kRounds = 40;
  run_rounds(cases, {.rounds = kRounds, .seed = 3, .probe = [&] { return book.probe(); }});
  // A warm-up of each, a probe, and then measurement and probe in turn.
  ASSERT_EQ(book.calls.size(), 3 + 1 + kRounds * 6);
  EXPECT_EQ(std::vector<std::string>(book.calls.begin(), book.calls.begin() + 4),
            (std::vector<std::string>{"a", "b", "c", "probe"}));
  std::set<std::string> orders;
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    std::string order;
    for (int i = 0; i < 3; ++i) {
      order += book.calls[4 + round * 6 + 2 * i];
      EXPECT_EQ(book.calls[4 + round * 6 + 2 * i + 1], "probe");
    }
    EXPECT_EQ(std::set<char>(order.begin(), order.end()).size(), 3U) << order;
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 6U);
}

TEST(Rounds, PairAMeasurementWithTheProbesRightBeforeAndAfter) {
  Notebook book;
  const std::vector<RoundCase> cases = {book.bench("a")};
  const auto samples =
      run_rounds(cases, {.rounds = 2, .seed = 1, .probe = [&] { return book.probe(); }});
  ASSERT_EQ(samples.size(), 1U);
  ASSERT_EQ(samples[0].size(), 2U);
  EXPECT_DOUBLE_EQ(samples[0][0].probe, 2 / (1.0 / 1 + 1.0 / 2));
  EXPECT_DOUBLE_EQ(samples[0][1].probe, 2 / (1.0 / 2 + 1.0 / 3));
}

TEST(Rounds, SharesAndRatiosArePairedBeforeTheMedianIsTaken) {
  const RoundCase measured{.design = "a", .work = 1000, .operations = 10, .measure = {}};
  // The bandwidth halves in two of the rounds, and the measurement with it.
  const std::vector<RoundSample> samples = {{100, 20}, {200, 10}, {100, 20}, {220, 10}, {100, 40}};
  const std::vector<RoundSample> reference = {{50, 20}, {100, 10}, {80, 20}, {55, 10}, {100, 40}};
  BenchRow row;
  set_time(row, measured, samples);
  add_rate(row, measured, samples, {.rate = "kv_gbps"});
  add_time_ratio(row, "ratio_to_a", samples, reference);
  add_inverse(row, "inverse", "share_of_probe");
  EXPECT_EQ(row.repetitions, 5U);
  EXPECT_DOUBLE_EQ(row.ns_per_op, 10);
  EXPECT_DOUBLE_EQ(figure(row, "probe_gbps"), 20);
  EXPECT_DOUBLE_EQ(figure(row, "kv_gbps"), 10);
  EXPECT_DOUBLE_EQ(figure(row, "share_of_probe"), 0.5);
  EXPECT_DOUBLE_EQ(figure(row, "ratio_to_a"), 2);
  EXPECT_DOUBLE_EQ(figure(row, "inverse"), 2);
}

TEST(Rounds, IntervalsAreThoseOfTheMediansOrderStatistics) {
  std::vector<double> values;
  for (int i = 11; i > 0; --i) values.push_back(i);
  const MedianInterval interval = median_interval(values);
  EXPECT_DOUBLE_EQ(interval.median, 6);
  EXPECT_DOUBLE_EQ(interval.low, 2);
  EXPECT_DOUBLE_EQ(interval.high, 10);
}

}  // namespace
}  // namespace kvrm
