#include "harness/driver/exit_code.h"

#include <algorithm>

namespace kvrm {
namespace {

template <class Report>
ExitCode gravest(const Report& report) {
  const auto any = [&](RunStatus status) {
    return std::any_of(report.engines.begin(), report.engines.end(),
                       [&](const auto& engine) { return engine.status == status; });
  };
  if (any(RunStatus::incorrect)) return ExitCode::incorrect;
  const bool nothing_ran = report.engines.empty();
  if (any(RunStatus::incomplete) || report.interrupted || nothing_ran) return ExitCode::incomplete;
  return any(RunStatus::invalid) ? ExitCode::ambiguous : ExitCode::ok;
}

}  // namespace

ExitCode exit_code_of(const ExperimentResult& result) { return gravest(result); }
ExitCode exit_code_of(const VerifyReport& report) {
  if (report.replay && !report.replay->agrees()) return ExitCode::incorrect;
  return gravest(report);
}

}  // namespace kvrm
