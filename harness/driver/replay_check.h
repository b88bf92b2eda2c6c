// Holds a descriptor log against a run of the same experiment: the records alone must give the
// outputs that the engine gives. Who writes a log, and how it is replayed, is the engine's
// business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "harness/base/result.h"
#include "harness/config/experiment.h"
#include "harness/driver/point_context.h"
#include "harness/driver/registry.h"
#include "harness/result/event_log.h"

namespace kvrm {

// Index of the first engine of the point that can log its step descriptors.
std::optional<std::size_t> logging_engine(const ExperimentPoint& point, const Registry& registry);

struct ReplayCheck {
  std::string engine;  // label
  std::uint64_t steps = 0;
  std::uint64_t requests = 0;         // that both finished, or would have
  std::uint64_t replayed_digest = 0;  // of their outputs, as fold_output_digests() has it
  std::uint64_t expected_digest = 0;
  bool agrees() const { return requests > 0 && replayed_digest == expected_digest; }
};

// Replays the file on a fresh engine and compares it with `log`, that engine's own run. Errors are
// those of the file.
Result<ReplayCheck> check_descriptor_log(const PointContext& context, std::size_t engine,
                                         const std::string& file, const EventLog& log);

}  // namespace kvrm
