// One row of percentiles from the samples of all repeats of an engine: pooled values, bootstrap
// intervals, and n/a where too few independent observations stand behind one.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "harness/metrics/samples.h"
#include "harness/result/results.h"

namespace kvrm {

struct RowOptions {
  bool point_estimates = false;  // output.point_estimates
  std::uint64_t exact_limit = 10'000'000;
  std::string_view purpose;  // names the random stream, so that rows do not share their draws
};

struct PooledRow {
  PercentileRow row;
  bool from_histogram = false;
};

// `repeats` holds one series for each repeat. A percentile with fewer units than
// minimum_observations() is n/a, or with point_estimates a bare value. The maximum never has an
// interval: resampling cannot show a larger one.
PooledRow pooled_row(std::span<const SampleSeries* const> repeats, const RowOptions& options);

// A single percentile under the same rules, but never n/a as long as there is a sample: a bare
// value below the minimum. All zero without a sample.
Estimate pooled_percentile(std::span<const SampleSeries* const> repeats, std::uint32_t per_mille,
                           std::string_view purpose);

}  // namespace kvrm
