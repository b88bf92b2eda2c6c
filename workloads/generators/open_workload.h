// The requests of a workload as a stream: arrivals and lengths from generators or a trace, the same
// bytes each time for one specification. It clamps nothing to an engine's limits. With samples,
// each drawn request becomes so many with one arrival: the request itself, then ones that share its
// prompt.
#pragma once

#include <memory>

#include "harness/base/result.h"
#include "harness/config/experiment.h"
#include "harness/contract/request.h"

namespace kvrm {

// Reads a trace through to its end once before it returns, so that a broken row is an error here
// and not in the middle of a run. The specification is a valid one (harness/config); whatever is
// wrong with the trace file is the error.
Result<std::unique_ptr<RequestStream>> open_workload(const WorkloadSpec& spec);

}  // namespace kvrm
