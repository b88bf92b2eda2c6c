// One point of the sweep from its tree: sections read, labels given, the whole checked.
#pragma once

#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/config/experiment.h"
#include "harness/config/sweep.h"

namespace kvrm {

Result<ExperimentPoint> read_point(const SweepPoint& point,
                                   const std::vector<std::string>& engine_kinds,
                                   const std::vector<std::string>& backend_kinds);

}  // namespace kvrm
