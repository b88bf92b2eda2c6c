// Which engines' outputs are right (DESIGN 15): exact engines agree with one another to the bit in
// every repeat, and samples of each agree with the oracle.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/driver/point_context.h"
#include "harness/driver/verify.h"
#include "harness/result/event_log.h"

namespace kvrm {

struct EngineVerdict {
  bool incorrect = false;
  std::string reason;
  std::uint64_t oracle_samples = 0;
  double oracle_error_max = 0;
};

// Outputs that mean something and are exact by design; only these are judged.
inline bool is_judged(const EngineInfo& info) { return info.checked && info.exact; }

// The first request that two logs finished with different outputs; logs[i] and judged[i] are
// engine i's.
std::optional<RequestId> first_disagreement(std::span<const std::vector<EventLog>> logs,
                                            const std::vector<bool>& judged);

// Marks engines until the unmarked ones agree on every request that they finished. A disputed
// request is run again alone on each engine; where the runs part, the oracle says who is right, and
// a log that differs from the confirmed run is wrong. Where the oracle cannot tell, all engines
// that finished the request are marked.
Status settle_disagreements(const PointContext& context, OracleChecker& oracle,
                            std::span<const std::vector<EventLog>> logs,
                            std::span<EngineVerdict> verdicts);

// Replays the logs' samples through the oracle and marks engines that it does not confirm.
Status check_samples(const PointContext& context, OracleChecker& oracle,
                     std::span<const std::vector<EventLog>> logs,
                     std::span<EngineVerdict> verdicts);

// The one output digest of all judged logs, 0 where they differ or there is none.
std::uint64_t common_output_digest(const PointContext& context,
                                   std::span<const std::vector<EventLog>> logs);

}  // namespace kvrm
