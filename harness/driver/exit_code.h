// From the states of engines to the exit code of a command (DESIGN 17).
#pragma once

#include "harness/base/result.h"
#include "harness/driver/verify_experiment.h"
#include "harness/result/results.h"

namespace kvrm {

// The gravest thing that happened: an incorrect output (5), then something incomplete, interrupted
// or not run at all (3), then an invalid measurement (4).
ExitCode exit_code_of(const ExperimentResult& result);
ExitCode exit_code_of(const VerifyReport& report);

}  // namespace kvrm
