#include "harness/stats/histogram.h"

#include <bit>
#include <cmath>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/stats/percentile.h"

namespace kvrm {
namespace {

constexpr int kFractionBits = 52;
constexpr int kBucketFractionBits = 9;
constexpr int kShift = kFractionBits - kBucketFractionBits;

}  // namespace

std::uint32_t log_linear_bucket(double value) {
  KVRM_CHECK(value >= 0);
  // Below the smallest normal number there is no relative precision to keep; no clock is that fine.
  if (!std::isnormal(value) && !std::isinf(value)) return 0;
  return static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(value) >> kShift);
}

double log_linear_midpoint(std::uint32_t bucket) {
  if (bucket == 0) return 0;
  const std::uint64_t first = std::uint64_t{bucket} << kShift;
  if (std::isinf(std::bit_cast<double>(first))) return std::bit_cast<double>(first);
  return std::bit_cast<double>(
      first | (std::uint64_t{KVRM_MUTATE(histogram_lower_end, 1U, 0U)} << (kShift - 1)));
}

void LogLinearHistogram::add(double value, std::uint64_t count) {
  if (count == 0) return;
  buckets_[log_linear_bucket(value)] += count;
  count_ += count;
}

void LogLinearHistogram::merge(const LogLinearHistogram& other) {
  for (const auto& [bucket, count] : other.buckets_) buckets_[bucket] += count;
  count_ += other.count_;
}

double LogLinearHistogram::percentile(std::uint32_t per_mille) const {
  const std::uint64_t rank = nearest_rank(count_, per_mille);
  auto bucket = buckets_.begin();
  for (std::uint64_t seen = bucket->second;
       seen + KVRM_MUTATE(histogram_rank_one_late, 0U, 1U) < rank; seen += bucket->second) {
    ++bucket;
  }
  return log_linear_midpoint(bucket->first);
}

}  // namespace kvrm
