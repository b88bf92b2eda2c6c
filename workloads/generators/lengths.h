// Token counts from a distribution. Lengths of a trace's rows are only scaled here.
#pragma once

#include <cstdint>

#include "harness/base/prng.h"
#include "harness/config/experiment.h"

namespace kvrm {

class LengthSource {
 public:
  LengthSource(const LengthSpec& spec, RandomStream random) : spec_(spec), random_(random) {}

  // `row_tokens` is the trace row's length, used by `kind: trace` only. At least 1.
  std::uint32_t next(std::uint32_t row_tokens);

 private:
  double draw(std::uint32_t row_tokens);

  LengthSpec spec_;
  RandomStream random_;
};

// Value at probability p: linear between the table's points.
double quantile_value(const LengthSpec& spec, double p);

}  // namespace kvrm
