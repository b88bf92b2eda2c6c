// Makes a failing run smaller by running it again in processes of its own, so that a crash counts
// as a failure: fewer commands at the end, fewer engines, features and faults, fewer commands in
// between. What it ends with still fails.
#pragma once

#include <cstdint>

#include "property_tests/simulation/world_spec.h"

namespace kvrm::simulation {

struct Shrunk {
  bool fails = false;  // false: the run that was given does not fail
  WorldPart part;
  std::uint64_t commands = 0;  // left
  std::uint64_t runs = 0;
};

// With this program itself, at most so many runs.
Shrunk shrink(const WorldPart& part, std::uint64_t runs_max);

}  // namespace kvrm::simulation
