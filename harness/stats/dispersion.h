// Centre and spread of a sample. Pure functions; an empty span gives 0 throughout.
#pragma once

#include <span>

namespace kvrm {

double mean_of(std::span<const double> values);
double variance_of(std::span<const double> values);  // unbiased (n - 1); 0 below two values
double coefficient_of_variation(std::span<const double> values);  // deviation / mean; 0 at mean 0
// Variance / mean of counts per window: 1 for a Poisson process, above 1 for bursts.
double index_of_dispersion(std::span<const double> counts);

}  // namespace kvrm
