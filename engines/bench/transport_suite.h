// Suite `transport`: the copies by which engines move groups of blocks, as a share of what the best
// plain loop copies in chunks of the same size at the same moment. What was copied is compared
// with its source before anything is timed.
#pragma once

#include "harness/bench/bench.h"

namespace kvrm {

BenchSuite transport_suite();

}  // namespace kvrm
