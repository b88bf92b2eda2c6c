// Suite `attention`: decode attention over every memory layout that an engine has, as a share of
// the bandwidth that a plain read reaches at the same moment, and beside contiguous memory. Every
// design's output is compared with the reference kernels before it is timed.
#pragma once

#include "harness/bench/bench.h"

namespace kvrm {

BenchSuite attention_suite();

}  // namespace kvrm
