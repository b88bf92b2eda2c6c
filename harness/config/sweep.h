// The sweep: axes of an experiment, and the product of their values as one tree a point. What the
// keys mean is not known here.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/config/config_node.h"

namespace kvrm {

struct SweepPoint {
  std::map<std::string, std::string> axes;  // axis name -> value
  ConfigNode tree;                          // the experiment without its sweep
};

// First axis slowest; one point without axes where there is no sweep.
Result<std::vector<SweepPoint>> expand_sweep(const ConfigNode& experiment);

// The axes of an experiment that expand_sweep() took, the slowest first.
std::vector<std::string> axis_names(const ConfigNode& experiment);

}  // namespace kvrm
