// Which engines' outputs are right (DESIGN 15): engines that follow one definition (exact ones, or
// those with one far-history rule) agree with one another to the bit in every repeat, and samples
// of each agree with the oracle of that definition.
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
  ShadowError shadow;  // of the family's oracle, where it follows a far-history rule
};

// Outputs that mean something and have a reference; only these are judged.
inline bool is_judged(const EngineInfo& info) {
  return info.checked && (info.exact || info.far_history.enabled);
}

// Engines whose outputs follow one definition, and which therefore agree to the bit: the exact
// ones, or those with one far-history rule.
struct Family {
  FarHistoryRule rule;        // not enabled: exact
  std::vector<bool> members;  // by engine
};

// The family of every judged engine; the exact ones are the first, though there may be none.
std::vector<Family> families_of(const std::vector<EngineInfo>& infos);

// The first request that two logs finished with different outputs; logs[i] and judged[i] are
// engine i's.
std::optional<RequestId> first_disagreement(std::span<const std::vector<EventLog>> logs,
                                            const std::vector<bool>& judged);

// Judges the members of one family by its own oracle. `logs` and `verdicts` are those of all
// engines of the point; only members' verdicts change.
class FamilyJudge {
 public:
  // The context must outlive this.
  FamilyJudge(const PointContext& context, Family family);

  const Family& family() const { return family_; }
  OracleChecker& oracle() { return oracle_; }

  // Marks members until the unmarked ones agree on every request that they finished. A disputed
  // request is run again alone on each engine; where the runs part, the oracle says who is right,
  // and a log that differs from the confirmed run is wrong. Where the oracle cannot tell, all
  // members that finished the request are marked.
  Status settle_disagreements(std::span<const std::vector<EventLog>> logs,
                              std::span<EngineVerdict> verdicts);
  // Replays the logs' samples through the oracle and marks members that it does not confirm.
  Status check_samples(std::span<const std::vector<EventLog>> logs,
                       std::span<EngineVerdict> verdicts);

 private:
  std::vector<bool> standing(std::span<const EngineVerdict> verdicts) const;
  void check(const Request& request, const OutputSample& sample, EngineVerdict& verdict);

  const PointContext& context_;
  Family family_;
  OracleChecker oracle_;
};

// What is wrong with the theory where a far history's error exceeds its bound; empty where none
// does. No engine is at fault then.
std::string broken_bound(const ShadowError& shadow);

// The one output digest of all logs of exact engines, 0 where they differ or there is none.
std::uint64_t common_output_digest(const PointContext& context,
                                   std::span<const std::vector<EventLog>> logs);

}  // namespace kvrm
