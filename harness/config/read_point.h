// One point of the sweep from its tree: sections read, labels given, the whole checked.
#pragma once

#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/config/experiment.h"
#include "harness/config/sweep.h"

namespace kvrm {

// Names that a point may use and that this folder does not know of itself.
struct KnownNames {
  const std::vector<std::string>& engine_kinds;
  const std::vector<std::string>& backend_kinds;
  const std::vector<std::string>& metric_columns;
};

Result<ExperimentPoint> read_point(const SweepPoint& point, const KnownNames& known);

}  // namespace kvrm
