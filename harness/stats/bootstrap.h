// Seeded bootstrap intervals at 95% for samples with structure: repeats of a run, and within a run
// blocks of neighbouring steps or requests, whose values hang together. Pure functions; the same
// seed gives the same interval everywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "harness/base/prng.h"

namespace kvrm {

struct Interval {
  double low = 0;
  double high = 0;
};

// `weight` equal values that belong to one block.
struct WeightedValue {
  double value = 0;
  std::uint32_t block = 0;
  std::uint64_t weight = 1;
};

// A pooled sample and its two levels of structure.
struct BlockedSample {
  std::vector<WeightedValue> values;         // ascending by value
  std::vector<std::uint32_t> repeat_blocks;  // blocks of each repeat; blocks are numbered through
};

// Blocks into which a run of `units` steps or requests is cut: about the square root, so that
// blocks grow with the run and so does their number; at least 1.
std::uint32_t block_count(std::uint64_t units);

// Nearest-rank percentile of the pooled sample. CHECKs that it is not empty.
double weighted_percentile(const BlockedSample& sample, std::uint32_t per_mille);

// One interval for each percentile asked for: resamples repeats, then blocks within each, and takes
// the 2.5% and 97.5% nearest ranks of the replicates, widened to hold the sample's own value.
std::vector<Interval> bootstrap_percentiles(const BlockedSample& sample,
                                            std::span<const std::uint32_t> per_mille,
                                            RandomStream& stream);

// Sums of one block: a rate is a ratio of two sums.
struct BlockSums {
  double numerator = 0;
  double denominator = 0;
};

// Interval of sum(numerators) / sum(denominators) under the same resampling. `blocks` are numbered
// through like BlockedSample's.
Interval bootstrap_rate(std::span<const BlockSums> blocks,
                        std::span<const std::uint32_t> repeat_blocks, RandomStream& stream);
// 0 where the denominators sum to 0.
double pooled_rate(std::span<const BlockSums> blocks);

struct RatioEstimate {
  double value = 0;
  double low = 0;
  double high = 0;
};

// Geometric mean of numerator[i] / denominator[i] over paired repeats, with its interval from
// resampling the pairs' log ratios; with fewer than two pairs both ends equal the value. Zero and
// infinite values carry through; empty where a ratio is undefined (0/0, inf/inf, or a mixture of 0
// and inf), or where there is no pair. CHECKs equal sizes and values >= 0.
std::optional<RatioEstimate> paired_ratio(std::span<const double> numerators,
                                          std::span<const double> denominators,
                                          RandomStream& stream);

}  // namespace kvrm
