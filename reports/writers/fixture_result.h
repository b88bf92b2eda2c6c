// One fixed ExperimentResult that has every kind of thing in it: two points, every class of status,
// n/a and infinite percentiles, rows of event logs. For tests of writers; its numbers are made up.
#pragma once

#include "harness/result/results.h"

namespace kvrm {

ExperimentResult fixture_result();

}  // namespace kvrm
