#include "property_tests/oracle/reference_far_history.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "harness/base/check.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

using Vector = std::vector<double>;

// (m * a + n * b) / (m + n)
Vector weighted_mean(double m, const Vector& a, double n, const Vector& b) {
  Vector mean;
  for (std::size_t d = 0; d < a.size(); ++d) mean.push_back((m * a[d] + n * b[d]) / (m + n));
  return mean;
}

Vector mean_of(std::span<const double> vectors, std::size_t head_dim) {
  Vector mean(head_dim);
  for (std::size_t i = 0; i < vectors.size(); ++i) mean[i % head_dim] += vectors[i];
  const std::size_t count = vectors.size() / head_dim;
  for (double& x : mean) x /= static_cast<double>(count);
  return mean;
}

Vector as_stored(DType type, const Vector& mean) {
  Vector stored;
  for (const double x : mean) stored.push_back(round_to(type, static_cast<float>(x)));
  return stored;
}

double largest_distance(std::span<const double> vectors, const Vector& from) {
  double largest = 0;
  for (std::size_t i = 0; i < vectors.size(); i += from.size()) {
    largest = std::max(largest, distance(vectors.subspan(i, from.size()), from));
  }
  return largest;
}

void append(Vector& to, std::span<const double> from) {
  to.insert(to.end(), from.begin(), from.end());
}

AttendedCopy attend(const ReferenceFarHistory& far, const Attended& history,
                    std::span<const FarEntry> entries) {
  const std::size_t head_dim = far.head_dim();
  const std::size_t first = std::min(far.summarised_first() * head_dim, history.keys.size());
  const std::size_t end = std::min(far.summarised_end() * head_dim, history.keys.size());
  AttendedCopy attended;
  append(attended.keys, history.keys.first(first));
  append(attended.values, history.values.first(first));
  attended.bias.resize(first / head_dim);
  for (const FarEntry& entry : entries) {
    append(attended.keys, entry.key);
    append(attended.values, entry.value);
    attended.bias.push_back(
        KVRM_MUTATE(oracle_entry_unbiased, std::log(static_cast<double>(entry.count)), 0.0));
  }
  append(attended.keys, history.keys.subspan(end));
  append(attended.values, history.values.subspan(end));
  attended.bias.resize(attended.keys.size() / head_dim);
  return attended;
}

}  // namespace

void ReferenceFarHistory::advance(std::uint32_t position, const Attended& history) {
  while (rule_.enabled) {
    const std::uint64_t first = summarised_end();
    if (first + rule_.block_tokens + rule_.window_tokens >
        std::uint64_t{position} + KVRM_MUTATE(oracle_window_one_short, 1U, 2U))
      return;
    if (entries_.size() == rule_.summaries) {
      entries_[1] = merge(entries_[0], entries_[1]);
      entries_.erase(entries_.begin());
    }
    entries_.push_back(summarise(static_cast<std::uint32_t>(first), history));
    ++blocks_;
  }
}

FarEntry ReferenceFarHistory::summarise(std::uint32_t first, const Attended& history) const {
  const std::size_t begin = std::size_t{first} * head_dim_;
  const std::size_t size = std::size_t{rule_.block_tokens} * head_dim_;
  const std::span<const double> keys = history.keys.subspan(begin, size);
  const std::span<const double> values = history.values.subspan(begin, size);
  FarEntry entry;
  entry.count = rule_.block_tokens;
  entry.exact_key = mean_of(keys, head_dim_);
  entry.exact_value = mean_of(values, head_dim_);
  entry.key = as_stored(kv_dtype_, entry.exact_key);
  entry.value = as_stored(kv_dtype_, entry.exact_value);
  entry.key_radius = largest_distance(keys, entry.key);
  entry.value_radius = largest_distance(values, entry.value);
  return entry;
}

FarEntry ReferenceFarHistory::merge(const FarEntry& a, const FarEntry& b) const {
  FarEntry both;
  both.count = a.count + b.count;
  both.exact_key = weighted_mean(a.count, a.exact_key, b.count, b.exact_key);
  both.exact_value = weighted_mean(a.count, a.exact_value, b.count, b.exact_value);
  both.key = as_stored(
      kv_dtype_,
      weighted_mean(KVRM_MUTATE(oracle_merge_unweighted, a.count, b.count), a.key, b.count, b.key));
  both.value = as_stored(kv_dtype_, weighted_mean(a.count, a.value, b.count, b.value));
  both.key_radius =
      std::max(KVRM_MUTATE(oracle_radius_of_one, a.key_radius, 0.0) + distance(a.key, both.key),
               b.key_radius + distance(b.key, both.key));
  both.value_radius = std::max(a.value_radius + distance(a.value, both.value),
                               b.value_radius + distance(b.value, both.value));
  return both;
}

AttendedCopy attended_with_far_history(const ReferenceFarHistory& far, const Attended& history) {
  return attend(far, history, far.entries());
}

AttendedCopy attended_exactly(const ReferenceFarHistory& far, const Attended& history) {
  return attend(far, history, {});
}

}  // namespace kvrm
