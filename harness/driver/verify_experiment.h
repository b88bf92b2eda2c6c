// Verification without timing: every engine of every point against the oracle, every request,
// token for token. Nothing here is measured.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/config/experiment.h"
#include "harness/driver/registry.h"
#include "harness/driver/replay_check.h"
#include "harness/driver/run_experiment.h"
#include "harness/result/results.h"

namespace kvrm {

// One engine at one point. Status is verified, approximate (far history: verified against its own
// reference), incorrect, incomplete (stopped early), unchecked (outputs mean nothing), or invalid
// (a far history whose error exceeds its bound).
struct EngineVerification {
  std::map<std::string, std::string> point;
  std::string label;
  RunStatus status = RunStatus::incomplete;
  std::string reason;  // empty when verified or approximate
  std::uint64_t requests_checked = 0;
  std::uint64_t requests_refused = 0;
  std::uint64_t tokens_checked = 0;
  std::uint64_t near_ties = 0;  // tokens accepted though the oracle's differed (verify.h)
  double error_max = 0;         // relative, as in verify.h
  bool follows_rule = false;    // a far history, so that there is a shadow
  ShadowError shadow;           // as EngineResult::shadow
};

struct VerifyReport {
  std::vector<EngineVerification> engines;
  std::vector<SkippedPoint> skipped;
  std::optional<ReplayCheck> replay;  // where a log was to be replayed
  bool interrupted = false;
};

// Uses of RunOptions: stop, progress, available_memory_bytes, descriptor_log (of the first point
// that has an engine with one).
Result<VerifyReport> verify_experiment(const Experiment& experiment, const Registry& registry,
                                       const RunOptions& options);

}  // namespace kvrm
