// What it costs to start an operation that does nothing: replayed from a recorded graph, replayed
// as the engines do it, and launched one by one.
#pragma once

#include <vector>

#include "engines/bench/bench_ground.h"

namespace kvrm {

// As many operations as a step of a model of 32 layers has, at several item counts.
std::vector<BenchPoint> launch_points();

}  // namespace kvrm
