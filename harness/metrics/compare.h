// Paired comparisons of engines: one value of each metric for each repeat, and the ratios of the
// repeats that two engines share.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "harness/metrics/samples.h"
#include "harness/result/results.h"

namespace kvrm {

// Metric -> value of one repeat. Latency percentiles are there where the repeat has a sample.
struct RepeatValues {
  std::uint32_t repeat = 0;
  std::map<std::string, double> values;
};

// Nearest-rank percentiles (p50, p99, p99.9) of one repeat's samples, as "itl_ms.p99".
void add_percentiles(const RunSamples& samples, std::map<std::string, double>& values);

// For every ordered pair of engines that carry metrics: output_tokens_per_s, the latencies at the
// percentiles that are not n/a in either, and reserved_bytes_peak. `values[i]` belongs to
// `engines[i]`. A metric without a defined ratio (both sides infinite or zero) is left out.
std::vector<Comparison> compare_engines(std::span<const EngineResult> engines,
                                        std::span<const std::vector<RepeatValues>> values);

}  // namespace kvrm
