// A step record as text for people: one line about the record, then one line an edit, copy or
// update. Of a full commit, one line an active row and one an entry of its lists.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engines/descriptor/step_limits.h"

namespace kvrm {

// A record whose sizes or checksums are wrong gives one line that says so.
std::string dump_record(std::span<const std::byte> record, const StepLimits& limits);

}  // namespace kvrm
