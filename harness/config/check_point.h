// Checks of one point that need more than one key: what fits what. Single values are checked where
// they are declared (sections.h).
#pragma once

#include "harness/base/result.h"
#include "harness/config/config_node.h"
#include "harness/config/experiment.h"

namespace kvrm {

// `tree` is what the point was read from; errors name the places in it.
Status check_point(const ConfigNode& tree, const ExperimentPoint& point);

}  // namespace kvrm
