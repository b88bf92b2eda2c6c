// Suite `pager`: what the block pager's operations cost on one thread. Nothing here moves KV.
#pragma once

#include "harness/bench/bench.h"

namespace kvrm {

BenchSuite pager_suite();

}  // namespace kvrm
