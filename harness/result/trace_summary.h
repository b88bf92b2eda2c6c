// What `kvrm trace FILE` prints of a trace: exact facts, no model of it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace kvrm {

struct TraceSummary {
  std::string format;  // the reader that took the file
  std::uint64_t rows = 0;
  double duration_s = 0;  // last arrival - first arrival
  std::map<std::string, std::uint64_t>
      prompt_tokens;  // nearest-rank quantiles: p0 p50 p90 p95 p99 p100
  std::map<std::string, std::uint64_t> output_tokens;
  double prompt_mean = 0;
  double output_mean = 0;
  double rate_per_s = 0;  // rows / duration
  std::map<std::uint32_t, std::uint64_t>
      peak_arrivals;  // window in s (1, 10, 60) -> most arrivals in one, aligned
  std::map<std::uint32_t, double>
      dispersion;  // window in s -> variance / mean of arrivals a window
  std::optional<double>
      prefix_block_hit_ratio;  // where rows carry prefix hashes: hits of an infinite cache
};

}  // namespace kvrm
