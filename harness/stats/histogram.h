// A histogram whose buckets grow with the value, for samples too large to keep: every value comes
// back within 0.1%. Not for values below zero.
#pragma once

#include <cstdint>
#include <map>

namespace kvrm {

// Buckets are log-linear: 512 equal ones between successive powers of two, which is the exponent
// and the first nine bits of the fraction of a double. The midpoint is then at most 2^-10 (0.098%)
// away from any value in the bucket. CHECKs value >= 0; 0 and infinity have their own buckets.
std::uint32_t log_linear_bucket(double value);
double log_linear_midpoint(std::uint32_t bucket);

// Counts by bucket; sparse, because latencies touch few of them.
class LogLinearHistogram {
 public:
  void add(double value, std::uint64_t count = 1);
  void merge(const LogLinearHistogram& other);

  std::uint64_t count() const { return count_; }
  // Midpoint of the bucket that holds the nearest-rank observation. CHECKs count() > 0.
  double percentile(std::uint32_t per_mille) const;
  const std::map<std::uint32_t, std::uint64_t>& buckets() const { return buckets_; }

 private:
  std::map<std::uint32_t, std::uint64_t> buckets_;
  std::uint64_t count_ = 0;
};

}  // namespace kvrm
