// What the replay of a descriptor log gave: every output of every request, in order. A value
// between the engine that replays and the harness that compares.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "harness/base/ids.h"

namespace kvrm {

struct ReplayedLog {
  std::uint64_t steps = 0;
  // RowResult::output_digest of each output, over all admissions of the request.
  std::map<RequestId, std::vector<std::uint64_t>> outputs;
};

}  // namespace kvrm
