// Delivers damaged and misplaced step records to an engine's step image, through a channel of its
// own, so that nothing of the engine's but the image is at stake. What must happen: the record is
// refused and not a byte of the image changes.
#pragma once

#include <string>

#include "engines/descriptor/apply_step.h"
#include "harness/base/prng.h"
#include "property_tests/simulation/faults.h"

namespace kvrm::simulation {

struct AttackResult {
  bool made = false;      // false: there was nothing to damage (no step before, say)
  std::string violation;  // empty: refused, and nothing changed
};

// `real` is what the graph's first node reads. record_twice: after that node ran, all others
// before.
AttackResult attack_image(const ApplyStepArgs& real, Fault fault, RandomStream& random);

}  // namespace kvrm::simulation
