#include "harness/stats/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "harness/base/check.h"
#include "harness/stats/dispersion.h"
#include "harness/stats/percentile.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kReplicatesMax = 1000;
constexpr std::uint64_t kReplicatesMin = 200;
constexpr std::uint64_t kWorkLimit = 50'000'000;  // values visited, so that large samples stay fast

std::uint64_t replicate_count(std::uint64_t values) {
  return std::clamp(kWorkLimit / std::max<std::uint64_t>(values, 1), kReplicatesMin,
                    kReplicatesMax);
}

std::vector<std::uint32_t> first_blocks(std::span<const std::uint32_t> repeat_blocks) {
  std::vector<std::uint32_t> first = {0};
  for (const std::uint32_t blocks : repeat_blocks) first.push_back(first.back() + blocks);
  return first;
}

// How often each block stands in one replicate.
void draw_blocks(std::span<const std::uint32_t> repeat_blocks, std::span<const std::uint32_t> first,
                 RandomStream& stream, std::span<std::uint64_t> times) {
  std::fill(times.begin(), times.end(), 0);
  for (std::size_t draw = 0; draw < repeat_blocks.size(); ++draw) {
    const std::size_t repeat = stream.below(repeat_blocks.size());
    for (std::uint32_t block = 0; block < repeat_blocks[repeat]; ++block) {
      ++times[first[repeat] + stream.below(repeat_blocks[repeat])];
    }
  }
}

// Walks the sample once for all percentiles; `ranked` lists their indices by rising percentile.
void replicate_percentiles(const BlockedSample& sample, std::span<const std::uint64_t> times,
                           std::span<const std::uint32_t> per_mille,
                           std::span<const std::size_t> ranked,
                           std::vector<std::vector<double>>& replicates) {
  std::uint64_t total = 0;
  for (const WeightedValue& entry : sample.values) total += entry.weight * times[entry.block];
  if (total == 0) return;
  std::uint64_t seen = 0;
  std::size_t next = 0;
  for (const WeightedValue& entry : sample.values) {
    seen += entry.weight * times[entry.block];
    while (next < ranked.size() && seen >= nearest_rank(total, per_mille[ranked[next]])) {
      replicates[ranked[next++]].push_back(entry.value);
    }
    if (next == ranked.size()) return;
  }
}

Interval interval_of(std::vector<double> replicates, double value) {
  if (replicates.empty()) return {value, value};
  std::sort(replicates.begin(), replicates.end());
  return {std::min(value, percentile_of_sorted(replicates, 25)),
          std::max(value, percentile_of_sorted(replicates, 975))};
}

}  // namespace

std::uint32_t block_count(std::uint64_t units) {
  return static_cast<std::uint32_t>(
      std::max(1.0, std::round(std::sqrt(static_cast<double>(units)))));
}

double weighted_percentile(const BlockedSample& sample, std::uint32_t per_mille) {
  std::uint64_t total = 0;
  for (const WeightedValue& entry : sample.values) total += entry.weight;
  const std::uint64_t rank = nearest_rank(total, per_mille);
  std::size_t index = 0;
  for (std::uint64_t seen = sample.values[0].weight; seen < rank;) {
    seen += sample.values[++index].weight;
  }
  return sample.values[index].value;
}

std::vector<Interval> bootstrap_percentiles(const BlockedSample& sample,
                                            std::span<const std::uint32_t> per_mille,
                                            RandomStream& stream) {
  const std::vector<std::uint32_t> first = first_blocks(sample.repeat_blocks);
  for (const WeightedValue& entry : sample.values) KVRM_CHECK_LT(entry.block, first.back());
  std::vector<std::size_t> ranked(per_mille.size());
  for (std::size_t i = 0; i < ranked.size(); ++i) ranked[i] = i;
  std::sort(ranked.begin(), ranked.end(),
            [&](std::size_t a, std::size_t b) { return per_mille[a] < per_mille[b]; });
  std::vector<std::vector<double>> replicates(per_mille.size());
  std::vector<std::uint64_t> times(first.back());
  for (std::uint64_t i = replicate_count(sample.values.size()); i > 0; --i) {
    draw_blocks(sample.repeat_blocks, first, stream, times);
    replicate_percentiles(sample, times, per_mille, ranked, replicates);
  }
  std::vector<Interval> intervals;
  for (std::size_t i = 0; i < per_mille.size(); ++i) {
    intervals.push_back(
        interval_of(std::move(replicates[i]), weighted_percentile(sample, per_mille[i])));
  }
  return intervals;
}

double pooled_rate(std::span<const BlockSums> blocks) {
  BlockSums sum;
  for (const BlockSums& block : blocks) {
    sum.numerator += block.numerator;
    sum.denominator += block.denominator;
  }
  return sum.denominator == 0 ? 0 : sum.numerator / sum.denominator;
}

Interval bootstrap_rate(std::span<const BlockSums> blocks,
                        std::span<const std::uint32_t> repeat_blocks, RandomStream& stream) {
  const std::vector<std::uint32_t> first = first_blocks(repeat_blocks);
  KVRM_CHECK_EQ(first.back(), blocks.size());
  std::vector<std::uint64_t> times(blocks.size());
  std::vector<double> replicates;
  for (std::uint64_t i = replicate_count(blocks.size()); i > 0; --i) {
    draw_blocks(repeat_blocks, first, stream, times);
    BlockSums sum;
    for (std::size_t block = 0; block < blocks.size(); ++block) {
      sum.numerator += blocks[block].numerator * static_cast<double>(times[block]);
      sum.denominator += blocks[block].denominator * static_cast<double>(times[block]);
    }
    if (sum.denominator > 0) replicates.push_back(sum.numerator / sum.denominator);
  }
  return interval_of(std::move(replicates), pooled_rate(blocks));
}

std::optional<RatioEstimate> paired_ratio(std::span<const double> numerators,
                                          std::span<const double> denominators,
                                          RandomStream& stream) {
  KVRM_CHECK_EQ(numerators.size(), denominators.size());
  std::vector<double> logs;
  for (std::size_t i = 0; i < numerators.size(); ++i) {
    KVRM_CHECK(numerators[i] >= 0 && denominators[i] >= 0);
    logs.push_back(std::log(numerators[i] / denominators[i]));
  }
  const double mean = mean_of(logs);
  if (logs.empty() || std::isnan(mean)) return std::nullopt;
  const double value = std::exp(mean);
  if (logs.size() < 2) return RatioEstimate{value, value, value};
  std::vector<double> replicates;
  std::vector<double> drawn(logs.size());
  for (std::uint64_t i = 0; i < kReplicatesMax; ++i) {
    for (double& log_ratio : drawn) log_ratio = logs[stream.below(logs.size())];
    replicates.push_back(std::exp(mean_of(drawn)));
  }
  const Interval interval = interval_of(std::move(replicates), value);
  return RatioEstimate{value, interval.low, interval.high};
}

}  // namespace kvrm
