#include "harness/stats/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "harness/stats/dispersion.h"
#include "harness/stats/percentile.h"

namespace kvrm {
namespace {

constexpr int kReplicates = 1000;

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
    const std::size_t repeat =
        KVRM_MUTATE(bootstrap_repeats_not_drawn, stream.below(repeat_blocks.size()), draw);
    for (std::uint32_t block = 0; block < repeat_blocks[repeat]; ++block) {
      ++times[first[repeat] +
              KVRM_MUTATE(bootstrap_blocks_not_drawn, stream.below(repeat_blocks[repeat]), block)];
    }
  }
}

// A sample cut into chunks of neighbouring values, with each chunk's weight by block, so that a
// replicate's percentile needs a product over chunks and blocks and a walk through one chunk
// instead of a walk through everything.
class ChunkedSample {
 public:
  explicit ChunkedSample(const BlockedSample& sample, std::size_t blocks)
      : values_(sample.values), blocks_(blocks) {
    // Balances blocks * chunks against the walk through some chunks of values / chunks each.
    const double balanced =
        std::sqrt(20.0 * static_cast<double>(values_.size()) / static_cast<double>(blocks));
    const std::size_t chunks = std::max<std::size_t>(static_cast<std::size_t>(balanced), 1);
    chunk_values_ = divide_up(values_.size(), chunks);
    chunk_totals_.resize(divide_up(values_.size(), chunk_values_));
    weights_.resize(chunk_totals_.size() * blocks_);
    for (std::size_t i = 0; i < values_.size(); ++i) {
      weights_[i / chunk_values_ * blocks_ + values_[i].block] +=
          KVRM_MUTATE(bootstrap_weights_ignored, values_[i].weight, 1U);
    }
  }

  // Sets how often each block stands in the replicate; the total weight of it all.
  std::uint64_t resample(std::span<const std::uint64_t> times) {
    times_ = times;
    std::uint64_t total = 0;
    for (std::size_t chunk = 0; chunk < chunk_totals_.size(); ++chunk) {
      const std::uint64_t* weights = weights_.data() + chunk * blocks_;
      std::uint64_t sum = 0;
      for (std::size_t block = 0; block < blocks_; ++block) sum += weights[block] * times[block];
      chunk_totals_[chunk] = sum;
      total += sum;
    }
    return total;
  }

  // Value at a rank from 1 to the total weight of the replicate.
  double value_at(std::uint64_t rank) const {
    std::size_t chunk = 0;
    std::uint64_t before = 0;
    while (before + chunk_totals_[chunk] + KVRM_MUTATE(bootstrap_rank_one_late, 0U, 1U) <
           rank + KVRM_MUTATE(bootstrap_rank_one_early, 0U, 1U))
      before += chunk_totals_[chunk++];
    std::size_t i = chunk * chunk_values_;
    const auto weight = [&] { return values_[i].weight * times_[values_[i].block]; };
    for (before += weight(); before < rank; before += weight()) ++i;
    return values_[i].value;
  }

 private:
  std::span<const WeightedValue> values_;
  std::size_t blocks_;
  std::size_t chunk_values_ = 0;
  std::vector<std::uint64_t> weights_;  // [chunk, block]
  std::vector<std::uint64_t> chunk_totals_;
  std::span<const std::uint64_t> times_;
};

Interval interval_of(std::vector<double> replicates, double value) {
  if (replicates.empty()) return {value, value};
  std::sort(replicates.begin(), replicates.end());
  return {std::min(value,
                   percentile_of_sorted(replicates, KVRM_MUTATE(interval_too_narrow, 25U, 250U))),
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
  std::vector<std::vector<double>> replicates(per_mille.size());
  std::vector<std::uint64_t> times(first.back());
  ChunkedSample chunked(sample, times.size());
  for (int i = 0; i < kReplicates; ++i) {
    draw_blocks(sample.repeat_blocks, first, stream, times);
    const std::uint64_t total = chunked.resample(times);
    if (total == 0) continue;  // every block drawn was empty
    for (std::size_t p = 0; p < per_mille.size(); ++p) {
      replicates[p].push_back(chunked.value_at(nearest_rank(total, per_mille[p])));
    }
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
  for (int i = 0; i < kReplicates; ++i) {
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
  if (logs.size() < KVRM_MUTATE(ratio_pairs_drawn_apart, 2U, 3U))
    return RatioEstimate{value, value, value};
  std::vector<double> replicates;
  std::vector<double> drawn(logs.size());
  for (int i = 0; i < kReplicates; ++i) {
    for (double& log_ratio : drawn) log_ratio = logs[stream.below(logs.size())];
    replicates.push_back(std::exp(mean_of(drawn)));
  }
  const Interval interval = interval_of(std::move(replicates), value);
  return RatioEstimate{value, interval.low, interval.high};
}

}  // namespace kvrm
