// Output tokens and good requests per second of one run, cut into blocks of steps for the
// bootstrap.
#pragma once

#include <vector>

#include "harness/config/experiment.h"
#include "harness/metrics/window.h"
#include "harness/result/event_log.h"
#include "harness/stats/bootstrap.h"

namespace kvrm {

// Parallel blocks that together cover the window: events in a block over its seconds.
struct RunRates {
  std::vector<BlockSums> tokens;
  std::vector<BlockSums> good_requests;
};

// Output tokens whose time lies in the window, and requests that finished in it and met every SLO
// asked for: TTFT, E2E, and the p99 (nearest rank) of the request's own gaps against slo.itl_ms.
RunRates collect_rates(const EventLog& log, const Window& window, const SloSpec& slo);

}  // namespace kvrm
