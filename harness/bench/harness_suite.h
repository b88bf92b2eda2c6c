// Suite `harness`: what the driver itself costs a token event, over the null engine, and what it
// costs to be watched: with everything that drive() offers, and with a tool that receives its
// ranges.
#pragma once

#include <vector>

#include "harness/bench/bench.h"

namespace kvrm {

BenchSuite harness_suite(const TraceSwitch& tool);

}  // namespace kvrm
