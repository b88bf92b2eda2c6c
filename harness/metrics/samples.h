// The latency samples of one run, taken from its event log inside the measured window. No
// statistics here.
#pragma once

#include <cstdint>
#include <vector>

#include "harness/metrics/window.h"
#include "harness/result/event_log.h"

namespace kvrm {

// One value and the independent unit that it belongs to: a request, or for ITL and step latency a
// step, whose tokens share its latency. Units count from 0 in order of time.
struct Observation {
  double ms = 0;  // may be infinite
  std::uint32_t unit = 0;
};

struct SampleSeries {
  std::vector<Observation> values;
  std::uint32_t units = 0;  // independent observations behind the values
};

struct RunSamples {
  SampleSeries ttft;
  SampleSeries itl;
  SampleSeries tpot;
  SampleSeries e2e;
  SampleSeries step;
};

// A sample counts when the event that ends it lies in the window: the first token (TTFT), the last
// (E2E, TPOT), the second of a pair (ITL), the step's completion after another in the window (step
// latency). Whatever a request was still waiting for at the end of the run counts as infinite,
// window or not, so that a slow engine cannot hide its slowest. Refused requests have no latency.
RunSamples collect_samples(const EventLog& log, const Window& window);

// When the gap's second token was given. A gap that no step followed ended with the run.
Nanoseconds gap_end(const EventLog& log, const TokenGap& gap);

double to_ms(Nanoseconds time);

}  // namespace kvrm
