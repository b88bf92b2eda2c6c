#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "workloads/generators/lengths.h"
#include "workloads/generators/open_workload.h"

namespace kvrm {
namespace {

WorkloadSpec poisson_workload() {
  WorkloadSpec spec;
  spec.requests = 20'000;
  spec.arrivals.kind = ArrivalSpec::Kind::poisson;
  spec.arrivals.rate_per_s = 50;
  spec.prompt_tokens.value = 7;
  spec.output_tokens.kind = LengthSpec::Kind::uniform;
  spec.output_tokens.min = 3;
  spec.output_tokens.max = 9;
  return spec;
}

std::vector<Request> all_requests(const WorkloadSpec& spec) {
  std::vector<Request> requests;
  Result<std::unique_ptr<RequestStream>> stream = open_workload(spec);
  EXPECT_TRUE(stream.has_value()) << stream.error().message;
  while (stream) {
    Result<std::optional<Request>> request = (*stream)->next();
    EXPECT_TRUE(request.has_value()) << request.error().message;
    if (!request || !*request) break;
    requests.push_back(**request);
  }
  return requests;
}

std::uint64_t digest(const WorkloadSpec& spec) {
  std::uint64_t folded = 0;
  for (const Request& request : all_requests(spec)) folded = fold_request(folded, request);
  return folded;
}

std::vector<double> gaps_s(const std::vector<Request>& requests) {
  std::vector<double> gaps;
  for (std::size_t i = 1; i < requests.size(); ++i) {
    gaps.push_back(static_cast<double>(requests[i].arrival - requests[i - 1].arrival) / 1e9);
  }
  return gaps;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double variation(const std::vector<double>& values) {
  const double center = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - center) * (value - center);
  return std::sqrt(sum / static_cast<double>(values.size())) / center;
}

TEST(Workload, IsTheSameBytesEachTimeAndDiffersBySeed) {
  WorkloadSpec spec = poisson_workload();
  spec.requests = 100;
  const std::uint64_t first = digest(spec);
  EXPECT_EQ(first, digest(spec));
  EXPECT_EQ(first, 16833116038072183771ULL) << "the bytes of a seed must never change";
  std::set<std::uint64_t> digests = {first};
  for (const std::uint64_t seed : {0, 2, 3}) {
    spec.seed = seed;
    digests.insert(digest(spec));
  }
  EXPECT_EQ(digests.size(), 4U);
}

TEST(Workload, StreamsAreIndependentByPurpose) {
  WorkloadSpec spec = poisson_workload();
  spec.requests = 50;
  const std::vector<Request> before = all_requests(spec);
  spec.prompt_tokens.kind = LengthSpec::Kind::lognormal;
  spec.prompt_tokens.mean = 40;
  spec.prompt_tokens.sigma = 1;
  spec.arrivals.kind = ArrivalSpec::Kind::gamma;
  spec.arrivals.cv = 3;
  const std::vector<Request> after = all_requests(spec);
  ASSERT_EQ(before.size(), after.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i].output_tokens, after[i].output_tokens);
    EXPECT_EQ(before[i].content_key, after[i].content_key);
  }
}

TEST(Workload, IdsAscendKeysDifferAndArrivalsNeverFall) {
  const std::vector<Request> requests = all_requests(poisson_workload());
  ASSERT_EQ(requests.size(), 20'000U);
  std::set<std::uint64_t> keys;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(requests[i].id, i);
    keys.insert(requests[i].content_key);
    EXPECT_LE(requests[i == 0 ? 0 : i - 1].arrival, requests[i].arrival);
  }
  EXPECT_EQ(keys.size(), requests.size());
}

// Drawn requests of a workload, as they are without samples, against the samples made of them.
TEST(Workload, EachDrawnRequestBecomesItsSamples) {
  WorkloadSpec spec = poisson_workload();
  spec.prompt_tokens.kind = LengthSpec::Kind::uniform;
  spec.prompt_tokens.min = 1;
  spec.prompt_tokens.max = 40;
  spec.requests = 100;
  const std::vector<Request> plain = all_requests(spec);
  spec.samples = 3;
  const std::vector<Request> requests = all_requests(spec);
  ASSERT_EQ(requests.size(), 100U);  // the last prompt has one sample only
  std::set<std::uint64_t> keys;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Request& first = requests[i / 3 * 3];
    EXPECT_EQ(requests[i].id, i);
    EXPECT_EQ(requests[i].arrival, plain[i / 3].arrival);
    EXPECT_EQ(first.prompt_tokens, plain[i / 3].prompt_tokens);
    EXPECT_EQ(first.prefix_tokens, 0U);
    EXPECT_EQ(requests[i].output_tokens, plain[i].output_tokens);  // a length of its own
    keys.insert(requests[i].content_key);
    if (i % 3 == 0) continue;
    EXPECT_EQ(requests[i].prefix_key, first.content_key);
    EXPECT_EQ(requests[i].prefix_tokens, first.prompt_tokens);
    EXPECT_EQ(requests[i].prompt_tokens, first.prompt_tokens + 1);
  }
  EXPECT_EQ(keys.size(), requests.size());
}

TEST(Workload, TheDigestCoversSamples) {
  WorkloadSpec spec = poisson_workload();
  spec.requests = 100;
  std::set<std::uint64_t> digests;
  for (const std::uint32_t samples : {1, 2, 3, 100}) {
    spec.samples = samples;
    digests.insert(digest(spec));
    EXPECT_EQ(digests.count(digest(spec)), 1U);  // the same each time
  }
  EXPECT_EQ(digests.size(), 4U);
  Request changed = all_requests(spec).back();
  const std::uint64_t before = fold_request(0, changed);
  ++changed.prefix_key;
  EXPECT_NE(fold_request(0, changed), before);
  --changed.prefix_key;
  --changed.prefix_tokens;
  EXPECT_NE(fold_request(0, changed), before);
}

// Bounds are five standard errors wide; seeds are fixed, so these pass or fail for good.
TEST(Arrivals, PoissonAndGammaHaveTheirRateAndVariation) {
  WorkloadSpec spec = poisson_workload();
  std::vector<double> gaps = gaps_s(all_requests(spec));
  EXPECT_NEAR(mean(gaps), 1.0 / 50, 5 * 0.02 / std::sqrt(20'000));
  EXPECT_NEAR(variation(gaps), 1, 0.05);
  spec.arrivals.kind = ArrivalSpec::Kind::gamma;
  spec.arrivals.cv = 2.5;
  gaps = gaps_s(all_requests(spec));
  EXPECT_NEAR(mean(gaps), 1.0 / 50, 5 * 2.5 * 0.02 / std::sqrt(20'000));
  EXPECT_NEAR(variation(gaps), 2.5, 0.15);
}

TEST(Arrivals, ClosedLoopArrivesAtZero) {
  WorkloadSpec spec = poisson_workload();
  spec.arrivals = {};
  spec.requests = 3;
  for (const Request& request : all_requests(spec)) EXPECT_EQ(request.arrival, 0);
}

TEST(Arrivals, OnOffIsSilentWhileOffAndKeepsItsMeanRate) {
  WorkloadSpec spec = poisson_workload();
  spec.arrivals.kind = ArrivalSpec::Kind::on_off;
  spec.arrivals.on_s = 0.5;
  spec.arrivals.off_s = 1.5;
  const std::vector<Request> requests = all_requests(spec);
  for (const Request& request : requests) {
    EXPECT_LE(std::fmod(static_cast<double>(request.arrival) / 1e9, 2.0), 0.5 + 1e-6);
  }
  EXPECT_NEAR(20'000 / (static_cast<double>(requests.back().arrival) / 1e9), 50, 2.5);
}

TEST(Arrivals, PerMinuteFollowsItsTableAndEnds) {
  WorkloadSpec spec = poisson_workload();
  spec.requests = 0;
  spec.arrivals = {};
  spec.arrivals.kind = ArrivalSpec::Kind::per_minute;
  spec.arrivals.per_minute = {4000, 0, 1000, 0, 0, 2500, 0};
  spec.arrivals.time_multiplier = 0.5;
  std::vector<double> counts(7, 0);
  for (const Request& request : all_requests(spec)) {
    const auto minute = static_cast<std::size_t>(request.arrival / (30 * kNanosecondsPerSecond));
    ASSERT_LT(minute, counts.size());
    counts[minute] += 1;
  }
  for (std::size_t i = 0; i < counts.size(); ++i) {
    EXPECT_NEAR(counts[i], spec.arrivals.per_minute[i], 5 * std::sqrt(spec.arrivals.per_minute[i]))
        << i;
  }
  spec.requests = 10;
  EXPECT_EQ(all_requests(spec).size(), 10U);
}

// The length below which a share p of the requests lies.
std::uint32_t drawn_quantile(std::vector<std::uint32_t> lengths, double p) {
  std::ranges::sort(lengths);
  return lengths[static_cast<std::size_t>(p * static_cast<double>(lengths.size() - 1))];
}

std::vector<std::uint32_t> drawn(const LengthSpec& spec, std::size_t count,
                                 std::uint32_t row_tokens = 0) {
  LengthSource source(spec, RandomStream(5, "test"));
  std::vector<std::uint32_t> lengths;
  for (std::size_t i = 0; i < count; ++i) lengths.push_back(source.next(row_tokens));
  return lengths;
}

TEST(Lengths, QuantileTablesComeBackOut) {
  LengthSpec spec;
  spec.kind = LengthSpec::Kind::quantiles;
  spec.probabilities = {0, 0.1, 0.5, 0.9, 1};
  spec.values = {2, 200, 1000, 3000, 14000};
  spec.scale = 0.5;
  const std::vector<std::uint32_t> lengths = drawn(spec, 100'000);
  for (const double p : {0.1, 0.3, 0.5, 0.7, 0.9, 0.95}) {
    const double length = std::round(quantile_value(spec, p) * spec.scale);
    const auto below =
        std::ranges::count_if(lengths, [&](auto drawn_length) { return drawn_length <= length; });
    EXPECT_NEAR(static_cast<double>(below) / 100'000, p, 5 * 0.5 / std::sqrt(100'000)) << p;
  }
  EXPECT_DOUBLE_EQ(quantile_value(spec, 0), 2);
  EXPECT_DOUBLE_EQ(quantile_value(spec, 0.3), 600);
  EXPECT_DOUBLE_EQ(quantile_value(spec, 1), 14000);
}

TEST(Lengths, LognormalHasItsMeanAndIsClamped) {
  LengthSpec spec;
  spec.kind = LengthSpec::Kind::lognormal;
  spec.mean = 400;
  spec.sigma = 0.8;
  const std::vector<std::uint32_t> lengths = drawn(spec, 100'000);
  EXPECT_NEAR(mean({lengths.begin(), lengths.end()}), 400, 8);
  EXPECT_NEAR(drawn_quantile(lengths, 0.5), 400 * std::exp(-0.32), 8);
  spec.min = 300;
  spec.max = 500;
  const std::vector<std::uint32_t> clamped = drawn(spec, 1000);
  EXPECT_EQ(std::ranges::min(clamped), 300U);
  EXPECT_EQ(std::ranges::max(clamped), 500U);
}

TEST(Lengths, UniformCoversBothEndsEvenly) {
  LengthSpec spec;
  spec.kind = LengthSpec::Kind::uniform;
  spec.min = 3;
  spec.max = 6;
  std::vector<int> counts(10, 0);
  for (const std::uint32_t length : drawn(spec, 40'000)) ++counts.at(length);
  for (const std::size_t length : {3, 4, 5, 6}) EXPECT_NEAR(counts[length], 10'000, 450);
  EXPECT_EQ(counts[3] + counts[4] + counts[5] + counts[6], 40'000);
}

TEST(Lengths, TraceRowsAreScaledAndNeverVanish) {
  LengthSpec spec;
  spec.kind = LengthSpec::Kind::trace;
  spec.scale = 0.125;
  EXPECT_EQ(drawn(spec, 1, 100), std::vector<std::uint32_t>{13});
  EXPECT_EQ(drawn(spec, 1, 1), std::vector<std::uint32_t>{1});
}

RC_GTEST_PROP(Lengths, AreAlwaysInsideTheirBounds, ()) {
  LengthSpec spec;
  spec.kind = *rc::gen::element(LengthSpec::Kind::uniform, LengthSpec::Kind::lognormal,
                                LengthSpec::Kind::quantiles);
  spec.min = *rc::gen::inRange(1U, 50U);
  spec.max = spec.min + *rc::gen::inRange(0U, 50U);
  spec.mean = *rc::gen::inRange(1, 1000);
  spec.sigma = *rc::gen::inRange(0, 10);
  spec.probabilities = {0, 0.5, 1};
  spec.values = {0, static_cast<double>(*rc::gen::inRange(0, 100)), 1e7};
  spec.scale = *rc::gen::element(1e-6, 1.0, 1e6);
  for (const std::uint32_t length : drawn(spec, 50))
    RC_ASSERT(length >= spec.min && length <= spec.max);
}

class TraceWorkload : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() /
            (std::string("kvrm_workload_") +
             ::testing::UnitTest::GetInstance()->current_test_info()->name());
    spec_.trace.path = path_.string();
    spec_.arrivals.kind = ArrivalSpec::Kind::trace;
    spec_.prompt_tokens.kind = LengthSpec::Kind::trace;
    spec_.output_tokens.kind = LengthSpec::Kind::trace;
  }
  void TearDown() override { std::filesystem::remove(path_); }
  void write(const std::string& rows) {
    std::ofstream(path_) << "arrival_s,prompt_tokens,output_tokens\n" << rows;
  }

  std::filesystem::path path_;
  WorkloadSpec spec_;
};

TEST_F(TraceWorkload, StartsAtItsFirstRowScaledAndEndsWithTheTrace) {
  write("100,10,4\n102,20,8\n109,30,12\n");
  spec_.arrivals.time_multiplier = 0.5;
  spec_.prompt_tokens.scale = 2;
  spec_.output_tokens.kind = LengthSpec::Kind::fixed;
  spec_.output_tokens.value = 5;
  std::string found;
  for (const Request& request : all_requests(spec_)) {
    found += fmt::format("{}:{}/{}/{} ", request.id, request.arrival, request.prompt_tokens,
                         request.output_tokens);
  }
  EXPECT_EQ(found, "0:0/20/5 1:1000000000/40/5 2:4500000000/60/5 ");
  spec_.requests = 2;
  EXPECT_EQ(all_requests(spec_).size(), 2U);
}

TEST_F(TraceWorkload, GivesEveryRowsSamplesTheRowsOutput) {
  write("100,10,4\n102,20,8\n");
  spec_.samples = 3;
  std::string found;
  for (const Request& request : all_requests(spec_)) {
    found +=
        fmt::format("{}/{}+{}/{} ", request.arrival / kNanosecondsPerSecond, request.prefix_tokens,
                    request.prompt_tokens - request.prefix_tokens, request.output_tokens);
  }
  EXPECT_EQ(found, "0/0+10/4 0/10+1/4 0/10+1/4 2/0+20/8 2/20+1/8 2/20+1/8 ");
}

TEST_F(TraceWorkload, TakesLengthsAloneWithOtherArrivals) {
  write("100,10,4\n102,20,8\n");
  spec_.arrivals.kind = ArrivalSpec::Kind::poisson;
  spec_.arrivals.rate_per_s = 1;
  const std::vector<Request> requests = all_requests(spec_);
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[1].prompt_tokens, 20U);
  EXPECT_GT(requests[0].arrival, 0);
}

TEST_F(TraceWorkload, ABrokenRowIsAnErrorBeforeAnythingRuns) {
  write("100,10,4\n102,x,8\n");
  spec_.requests = 1;
  const auto stream = open_workload(spec_);
  ASSERT_FALSE(stream.has_value());
  EXPECT_EQ(stream.error().message,
            path_.string() +
                ":3:5: prompt_tokens: found \"x\", allowed: an integer from 1 to 4294967295");
}

}  // namespace
}  // namespace kvrm
