// Suite `kvrm`: the whole host side of a decode step of the engine, on one thread: room for every
// slot's token, the plan, and the commit. The data plane is left out (control_plane_device.h).
#pragma once

#include "harness/bench/bench.h"

namespace kvrm {

BenchSuite kvrm_suite();

}  // namespace kvrm
