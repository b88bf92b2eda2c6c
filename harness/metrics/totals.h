// Counts, counters, memory and phase times of an engine over whole runs, warm-up included. These
// need no verified output; latencies are elsewhere.
#pragma once

#include <cstdint>
#include <span>

#include "harness/result/results.h"

namespace kvrm {

// Fills everything in `engine` that is a sum, a peak or a mean over its logs: requests, tokens,
// preemptions, digests, launch hash, counters, memory, phase_mean, repeats.
void fill_totals(std::span<const EventLog> logs, EngineResult& engine);

// Largest reserved KV of one run: at its start, after any step, at its end.
std::uint64_t reserved_peak(const EventLog& log);

}  // namespace kvrm
