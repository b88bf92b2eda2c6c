// From event logs to results: every metric of DESIGN 14 for the engines of one point, and their
// paired comparisons. What each metric means stands in dictionary.h.
#pragma once

#include <span>
#include <vector>

#include "harness/config/experiment.h"
#include "harness/result/results.h"

namespace kvrm {

// `engines[i]` has its info and status set and `logs[i]` holds its repeats, the same number for all
// that finished. Fills counts, counters, memory and phases of every engine, and metrics where the
// status carries them. Comparisons pair every engine with every other that carries metrics, repeat
// by repeat.
std::vector<Comparison> summarise_point(const ExperimentPoint& point,
                                        std::span<EngineResult> engines,
                                        std::span<const std::vector<EventLog>> logs);

// p99 of the generator's lag in ms over all requests of these runs, warm-up included: what is held
// against driver.generator_lag_budget_ms. 0 without requests.
double generator_lag_ms_p99(std::span<const EventLog> logs);

}  // namespace kvrm
