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
  std::uint64_t skipped_rows = 0;  // failed requests, which have no output; not among `rows`
  double duration_s = 0;           // last arrival - first arrival
  std::map<std::string, std::uint64_t>
      prompt_tokens;  // nearest-rank quantiles: p0 p50 p90 p95 p99 p100
  std::map<std::string, std::uint64_t> output_tokens;
  double prompt_mean = 0;
  double output_mean = 0;
  double rate_per_s = 0;  // rows / duration
  // Window in s (1, 10, 60) -> most arrivals in any window of that length, half open.
  std::map<std::uint32_t, std::uint64_t> peak_arrivals;
  // Window in s -> sample variance / mean of the arrivals in the whole windows from the first one.
  std::map<std::uint32_t, double> dispersion;
  std::optional<double>
      prefix_block_hit_ratio;  // where rows carry prefix hashes: hits of an infinite cache
};

}  // namespace kvrm
