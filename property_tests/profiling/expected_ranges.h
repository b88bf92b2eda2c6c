// docs/profiling.md in plain code: which ranges a run's calls must have given, a line for each
// begin ("plan 3") and end ("end").
#pragma once

#include <string>
#include <vector>

#include "property_tests/profiling/call_recorder.h"

namespace kvrm {

using RangeLines = std::vector<std::string>;

// Of a run that the driver took to its end. `null` has of a step only `replay`.
RangeLines expected_ranges(const RecordedCalls& calls, bool is_null);

}  // namespace kvrm
