// Suite `decoder`: whole layers of an 8B-shaped model. A decode step against the time in which a
// plain read gets its weights and KV, a prefill chunk against the rate of large matrix products,
// and what starting an operation costs.
#pragma once

#include "harness/bench/bench.h"

namespace kvrm {

BenchSuite decoder_suite();

}  // namespace kvrm
