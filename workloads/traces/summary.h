// The facts of a trace file, in one streaming pass. What they mean is in harness/result.
#pragma once

#include <string>

#include "harness/base/result.h"
#include "harness/result/trace_summary.h"

namespace kvrm {

Result<TraceSummary> summarise_trace(const std::string& file, const std::string& format);

}  // namespace kvrm
