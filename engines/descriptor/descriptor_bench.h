// Suite `descriptor`: what the host does between the pager and the replay, an operation being a
// slot of a step: finding out which slots changed, planning their groups, building the record and
// publishing it. The device's side, applying the record, runs between the timed parts.
#pragma once

#include "harness/bench/bench.h"

namespace kvrm {

BenchSuite descriptor_suite();

}  // namespace kvrm
