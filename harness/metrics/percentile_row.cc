#include "harness/metrics/percentile_row.h"

#include <algorithm>
#include <string>
#include <vector>

#include "harness/base/mutation.h"
#include "harness/stats/bootstrap.h"
#include "harness/stats/histogram.h"
#include "harness/stats/percentile.h"

namespace kvrm {
namespace {

// Any fixed number: the same logs must give the same intervals.
constexpr std::uint64_t kBootstrapSeed = 14;

// Neighbours of one block with the same value, which tokens of one step usually are, become one.
void append(std::vector<WeightedValue>& values, double value, std::uint32_t block) {
  if (!values.empty() && values.back().value == value && values.back().block == block) {
    ++values.back().weight;
  } else {
    values.push_back({value, block, 1});
  }
}

void append_histograms(std::span<const SampleSeries* const> repeats, BlockedSample& sample) {
  std::uint32_t first = 0;
  for (std::size_t repeat = 0; repeat < repeats.size(); ++repeat) {
    const std::uint32_t blocks = sample.repeat_blocks[repeat];
    std::vector<LogLinearHistogram> histograms(blocks);
    for (const Observation& observation : repeats[repeat]->values) {
      histograms[std::uint64_t{observation.unit} * blocks / repeats[repeat]->units].add(
          observation.ms);
    }
    for (std::uint32_t block = 0; block < blocks; ++block) {
      for (const auto& [bucket, count] : histograms[block].buckets()) {
        sample.values.push_back({log_linear_midpoint(bucket), first + block, count});
      }
    }
    first += blocks;
  }
}

void append_exact(std::span<const SampleSeries* const> repeats, BlockedSample& sample) {
  std::uint32_t first = 0;
  for (std::size_t repeat = 0; repeat < repeats.size(); ++repeat) {
    const std::uint32_t blocks = sample.repeat_blocks[repeat];
    for (const Observation& observation : repeats[repeat]->values) {
      const std::uint64_t block = std::uint64_t{observation.unit} * blocks / repeats[repeat]->units;
      append(sample.values, observation.ms, first + static_cast<std::uint32_t>(block));
    }
    first += KVRM_MUTATE(row_blocks_of_next_repeat, blocks, blocks - 1);
  }
}

BlockedSample pool(std::span<const SampleSeries* const> repeats, bool histogram) {
  BlockedSample sample;
  for (const SampleSeries* series : repeats) {
    sample.repeat_blocks.push_back(block_count(series->units));
  }
  histogram ? append_histograms(repeats, sample) : append_exact(repeats, sample);
  std::sort(sample.values.begin(), sample.values.end(),
            [](const WeightedValue& a, const WeightedValue& b) {
              return a.value != b.value ? a.value < b.value : a.block < b.block;
            });
  return sample;
}

struct SampleSize {
  std::uint64_t values = 0;
  std::uint64_t units = 0;
};

SampleSize size_of(std::span<const SampleSeries* const> repeats) {
  SampleSize size;
  for (const SampleSeries* series : repeats) {
    size.values += series->values.size();
    size.units += series->units;
  }
  return size;
}

bool interval_possible(std::uint32_t per_mille, std::uint64_t units) {
  return per_mille < 1000 && units >= minimum_observations(per_mille);
}

}  // namespace

PooledRow pooled_row(std::span<const SampleSeries* const> repeats, const RowOptions& options) {
  PooledRow result;
  for (const Percentile& percentile : kPercentiles) {
    result.row[std::string(percentile.name)] = std::nullopt;
  }
  const SampleSize size = size_of(repeats);
  if (size.values == 0) return result;
  result.from_histogram = size.values > options.exact_limit;
  const BlockedSample sample = pool(repeats, result.from_histogram);
  const std::uint64_t observed = KVRM_MUTATE(row_interval_from_tokens, size.units, size.values);
  std::vector<std::uint32_t> asked;
  for (const Percentile& percentile : kPercentiles) {
    if (interval_possible(percentile.per_mille, observed)) asked.push_back(percentile.per_mille);
  }
  RandomStream stream(kBootstrapSeed, options.purpose);
  const std::vector<Interval> intervals = bootstrap_percentiles(sample, asked, stream);
  std::size_t next = 0;
  for (const Percentile& percentile : kPercentiles) {
    std::optional<Estimate>& entry = result.row[std::string(percentile.name)];
    const double value = weighted_percentile(sample, percentile.per_mille);
    if (interval_possible(percentile.per_mille, observed)) {
      entry = Estimate{value, intervals[next].low, intervals[next].high};
      ++next;
    } else if (percentile.per_mille == 1000 || options.point_estimates) {
      entry = Estimate{value, value, value};
    }
  }
  return result;
}

Estimate pooled_percentile(std::span<const SampleSeries* const> repeats, std::uint32_t per_mille,
                           std::string_view purpose) {
  const SampleSize size = size_of(repeats);
  if (size.values == 0) return {};
  const BlockedSample sample = pool(repeats, false);
  const double value = weighted_percentile(sample, per_mille);
  if (!interval_possible(per_mille, size.units)) return {value, value, value};
  RandomStream stream(kBootstrapSeed, purpose);
  const Interval interval = bootstrap_percentiles(sample, std::span(&per_mille, 1), stream)[0];
  return {value, interval.low, interval.high};
}

}  // namespace kvrm
