// One fixed ExperimentResult that has every kind of thing in it: two points, every class of status,
// n/a and infinite percentiles, rows of event logs. For tests of writers; its numbers are made up.
#pragma once

#include "harness/result/results.h"

namespace kvrm {

ExperimentResult fixture_result();

// One with a sweep of two axes and `output.columns`: four points, of which one is skipped and one
// has a failure.
ExperimentResult fixture_sweep_result();

}  // namespace kvrm
