// What the driver writes down while it drives one engine through one workload: facts with times, no
// statistics. metrics/ computes from it; digests chain over it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/base/ids.h"
#include "harness/base/units.h"
#include "harness/contract/engine.h"

namespace kvrm {

enum class RequestState : std::uint8_t { finished, refused, in_flight };

// All times are nanoseconds since the run's start; -1: it never happened.
struct RequestRecord {
  RequestId id = 0;
  RequestState state = RequestState::in_flight;
  std::uint32_t prompt_tokens = 0;
  std::uint32_t output_budget = 0;
  std::uint32_t output_tokens = 0;  // given so far
  std::uint32_t preemptions = 0;
  std::uint32_t recomputed_tokens = 0;  // positions prefilled again after preemptions
  Nanoseconds intended_arrival = 0;
  Nanoseconds enqueued = -1;  // when the driver saw it: enqueued - intended_arrival is the lag
  Nanoseconds admitted = -1;  // first admission
  Nanoseconds first_token = -1;
  Nanoseconds finished = -1;
  std::uint64_t output_digest = 0;  // of its tokens, or of its attention outputs, in order
};

// Gap between two successive tokens of one request; `step` is the index in `steps` of the step that
// gave the second.
struct TokenGap {
  Nanoseconds gap = 0;
  std::uint32_t step = 0;
  std::uint32_t request = 0;  // index in `requests`
};

struct StepRecord {
  Nanoseconds start = 0;
  Nanoseconds end = 0;  // tokens of the step are stamped with it
  std::uint32_t active_slots = 0;
  std::uint32_t prefill_tokens = 0;  // prefilled since the previous step ended
  std::uint32_t waiting_requests = 0;
  PhaseTimes phases;
  Nanoseconds prefill = 0;  // time of that prefill
  // Since the previous step ended, prefill and waiting for arrivals aside: the host worked while
  // the device did; and the device did not work.
  Nanoseconds hidden_host = 0;
  Nanoseconds exposed_host = 0;
  MemoryUsage memory;  // at the end of the step
  std::uint64_t groups = 0;
  std::uint64_t moved_bytes = 0;
};

// Output values of a request's last token, kept for the oracle.
struct OutputSample {
  RequestId request = 0;
  std::uint32_t history_tokens = 0;  // positions that were in the history
  std::vector<TokenId> history;      // those tokens; empty for attention_only
  TokenId token = kNoToken;
  std::vector<float> output;  // RowResult::output
};

struct EventLog {
  std::string engine_label;
  std::uint32_t repeat = 0;
  Nanoseconds duration = 0;             // from the run's start to its last event
  bool interrupted = false;             // SIGINT, SIGTERM or the time limit
  std::vector<RequestRecord> requests;  // in order of id
  std::vector<StepRecord> steps;
  std::vector<TokenGap> gaps;  // in order of time
  std::vector<OutputSample> samples;
  std::vector<std::vector<TokenId>>
      output_tokens;        // by request, only when the run was asked to keep them
  EngineUsage start_usage;  // before the first request
  EngineUsage end_usage;    // after the last
  std::uint64_t preemptions = 0;
  std::uint64_t recomputed_tokens = 0;
  std::uint64_t prefilled_tokens = 0;  // positions, recomputed ones included
  std::uint64_t wasted_rows = 0;       // planned ahead of a step in which they then did not run
  std::uint64_t output_digest = 0;     // over all finished requests in order of id
  std::uint64_t workload_digest = 0;
};

std::string_view request_state_name(RequestState state);

// Digest of the outputs of all finished requests, in order of id, whatever their order in time.
std::uint64_t fold_output_digests(std::span<const RequestRecord> requests);

// Digest of everything that an event log says: workload, requests, steps and gaps with their times,
// outputs. The second link of the chain workload -> event log -> outputs -> report.
std::uint64_t event_log_digest(const EventLog& log);

}  // namespace kvrm
