// A tool inside of the program that receives the run's ranges as a profiler would, for measuring
// what that costs. It counts them and keeps nothing. It attaches where NVTX finds no other tool, so
// a profiler that is named in the environment goes before it.
#pragma once

#include "harness/bench/bench.h"

namespace kvrm {

// Attaches or detaches it; detached, it is as if no tool were there. Says how many ranges it has
// received so far. Empty where this build has no ranges.
TraceSwitch trace_switch();

}  // namespace kvrm
