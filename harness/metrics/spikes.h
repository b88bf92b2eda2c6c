// Latency spikes against one reference for all engines, inside and outside burst windows.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "harness/config/experiment.h"
#include "harness/metrics/window.h"
#include "harness/result/results.h"

namespace kvrm {

inline constexpr std::uint64_t kBurstWindowsMin = 10;

// Seconds of trace time (run time / time_multiplier) in the top 1% of all seconds up to the last
// arrival, by arrivals in them; of equally busy ones the earlier first. Empty below 100 seconds.
std::set<std::int64_t> burst_seconds(const EventLog& log, double time_multiplier);

// Median ITL in ms of the reference engine by repeat number.
using ReferenceMedians = std::map<std::uint32_t, double>;

// Counts the gaps of the window above spike_factor times the reference median of the same repeat. A
// spike is in a burst when the gap overlaps a burst window. All n/a where a repeat lacks its
// reference; bursts n/a in a closed loop and with fewer than ten windows.
SpikeMetrics count_spikes(const ExperimentPoint& point, std::span<const EventLog> logs,
                          const ReferenceMedians& medians);

}  // namespace kvrm
