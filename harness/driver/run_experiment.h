// A whole experiment: for each point the fair-budget check, interleaved and rotated repeats of all
// engines, verification, and the metrics of what was verified. Writing results to disk is not here.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "harness/base/result.h"
#include "harness/config/experiment.h"
#include "harness/driver/drive.h"
#include "harness/driver/registry.h"
#include "harness/result/results.h"

namespace kvrm {

struct RunProgress {
  std::size_t run = 0;   // runs done before this one; a run is one engine in one repeat
  std::size_t runs = 0;  // of the whole experiment
  std::string engine;    // label
  std::uint32_t repeat = 0;
  std::uint64_t expected_requests = 0;  // of this run
  DriveProgress drive;
};

struct RunOptions {
  const std::atomic<bool>* stop = nullptr;           // ends the experiment early, results kept
  std::function<void(const RunProgress&)> progress;  // see DriveOptions::progress
  bool keep_output_tokens = false;                   // in ExperimentResult::logs
  SampleSpec samples;                                // its seed is the workload's
  std::uint64_t available_memory_bytes = 0;          // 0: what the machine has
  // Run: where the first engine that can logs the step descriptors of its first repeat. Verify: the
  // log to replay. Empty: none.
  std::string descriptor_log;
};

// Errors: whatever makes the experiment impossible as written (a file, an engine that cannot be
// made, budgets that differ). A wrong output, a late generator or an interruption is not an error
// but a status of the engine it happened to.
Result<ExperimentResult> run_experiment(const Experiment& experiment, const Registry& registry,
                                        const RunOptions& options);

}  // namespace kvrm
