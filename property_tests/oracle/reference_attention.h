// Softmax attention of one query over one history, in double precision, by the definition. No
// tiles, no running maximum, nothing shared with the kernels.
#pragma once

#include <span>
#include <vector>

namespace kvrm {

// sum(a[i] * b[i]); eight partial sums, so that the compiler may use vectors.
double dot(std::span<const double> a, std::span<const double> b);
// |a - b|
double distance(std::span<const double> a, std::span<const double> b);

// What a query attends.
struct Attended {
  std::span<const double> keys;    // [positions, head_dim], positions at least 1
  std::span<const double> values;  // [positions, head_dim]
  std::span<const double> bias;    // [positions] added to each logit; empty: none
};

// softmax(query . key_i / sqrt(head_dim) + bias_i) weighted sum of values, into `output`
// [head_dim]. Leaves the weights in `weights`.
void reference_attention(std::span<const double> query, const Attended& attended,
                         std::vector<double>& weights, std::span<double> output);

}  // namespace kvrm
