#include "harness/bench/rounds.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/prng.h"

namespace kvrm {
namespace {

std::vector<std::size_t> random_order(std::size_t count, RandomStream& random) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

void add_interval(BenchRow& row, std::string_view name, const MedianInterval& interval) {
  const std::string base(name);
  row.figures.push_back({base, interval.median});
  row.figures.push_back({base + "_low", interval.low});
  row.figures.push_back({base + "_high", interval.high});
}

}  // namespace

std::vector<std::vector<RoundSample>> run_rounds(std::span<const RoundCase> cases,
                                                 const RoundsSpec& spec) {
  RandomStream random(spec.seed, "bench rounds");
  for (const RoundCase& bench : cases) bench.measure();
  std::vector<std::vector<RoundSample>> samples(cases.size());
  const auto probe = [&] { return spec.probe ? spec.probe() : 1; };
  double before = probe();
  for (std::uint32_t round = 0; round < spec.rounds; ++round) {
    for (const std::size_t index : random_order(cases.size(), random)) {
      const Nanoseconds elapsed = cases[index].measure();
      KVRM_CHECK_LE(1, elapsed);
      // The probe after one measurement is the probe before the next: nothing lies between them.
      const double after = probe();
      samples[index].push_back({elapsed, 2 / (1 / before + 1 / after)});
      before = after;
    }
  }
  return samples;
}

MedianInterval median_interval(std::vector<double> values) {
  KVRM_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const MedianRanks ranks = median_interval_ranks(static_cast<std::uint32_t>(values.size()));
  return {values[values.size() / 2], values[ranks.low], values[ranks.high]};
}

void set_time(BenchRow& row, const RoundCase& measured, std::span<const RoundSample> samples) {
  std::vector<double> times;
  for (const RoundSample& sample : samples) {
    times.push_back(static_cast<double>(sample.elapsed) / static_cast<double>(measured.operations));
  }
  const MedianInterval time = median_interval(std::move(times));
  row.repetitions = static_cast<std::uint32_t>(samples.size());
  row.ns_per_op = time.median;
  row.ns_per_op_low = time.low;
  row.ns_per_op_high = time.high;
}

void add_rate(BenchRow& row, const RoundCase& measured, std::span<const RoundSample> samples,
              const RateNames& names) {
  std::vector<double> probes;
  std::vector<double> rates;
  std::vector<double> shares;
  for (const RoundSample& sample : samples) {
    probes.push_back(sample.probe);
    rates.push_back(static_cast<double>(measured.work) / static_cast<double>(sample.elapsed));
    shares.push_back(rates.back() / sample.probe);
  }
  row.figures.push_back({names.probe, median_interval(std::move(probes)).median});
  row.figures.push_back({names.rate, median_interval(std::move(rates)).median});
  add_interval(row, names.share, median_interval(std::move(shares)));
}

void add_time_ratio(BenchRow& row, std::string_view name, std::span<const RoundSample> samples,
                    std::span<const RoundSample> reference) {
  KVRM_CHECK_EQ(samples.size(), reference.size());
  std::vector<double> ratios;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    ratios.push_back(static_cast<double>(samples[i].elapsed) /
                     static_cast<double>(reference[i].elapsed));
  }
  add_interval(row, name, median_interval(std::move(ratios)));
}

void add_inverse(BenchRow& row, std::string_view name, std::string_view of) {
  const auto found = std::find_if(row.figures.begin(), row.figures.end(),
                                  [&](const BenchFigure& figure) { return figure.name == of; });
  KVRM_CHECK(found != row.figures.end());
  row.figures.push_back({std::string(name), 1 / found->value});
}

}  // namespace kvrm
