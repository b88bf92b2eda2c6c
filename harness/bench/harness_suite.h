// Suite `harness`: what the driver itself costs a token event, over the null engine.
#pragma once

#include <vector>

#include "harness/bench/bench.h"

namespace kvrm {

BenchSuite harness_suite();

}  // namespace kvrm
