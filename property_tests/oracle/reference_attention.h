// Softmax attention of one query over one history, in double precision, by the definition. No
// tiles, no running maximum, nothing shared with the kernels.
#pragma once

#include <span>
#include <vector>

namespace kvrm {

// sum(a[i] * b[i]); eight partial sums, so that the compiler may use vectors.
double dot(std::span<const double> a, std::span<const double> b);

// softmax(query . key_i / sqrt(head_dim)) weighted sum of values, into `output` [head_dim].
// keys, values [positions, head_dim], positions at least 1. `weights` is scratch.
void reference_attention(std::span<const double> query, std::span<const double> keys,
                         std::span<const double> values, std::vector<double>& weights,
                         std::span<double> output);

}  // namespace kvrm
