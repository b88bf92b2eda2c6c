// The one loop that drives any engine through a workload and writes down what happened when. It
// knows requests, slots and time; memory, kernels and metrics are not its business.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "harness/base/result.h"
#include "harness/base/units.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"
#include "harness/contract/request.h"
#include "harness/device/clock.h"
#include "harness/result/event_log.h"

namespace kvrm {

// Which finished requests keep their last output for the oracle. The choice depends on the
// requests alone (preempted ones apart), so that engines that finish the same requests keep the
// same ones.
struct SampleSpec {
  std::uint32_t longest = 2;
  std::uint32_t preempted = 2;
  std::uint32_t random = 2;
  std::uint64_t seed = 0;
};

struct DriveProgress {
  Nanoseconds elapsed = 0;
  std::uint64_t arrived = 0;
  std::uint64_t ended = 0;  // finished or refused
  std::uint64_t output_tokens = 0;
};

struct DriveOptions {
  Budget budget;  // max_len refuses, prefill_tokens cuts prefill into chunks; at least 1 each
  ModelKind model_kind = ModelKind::decoder;
  std::uint32_t vocabulary = 0;  // decoder only
  std::uint32_t repeat = 0;
  Nanoseconds time_limit = 0;  // 0: none
  bool overlap = false;        // plan the next step while one runs, as if no request ended in it
  const std::atomic<bool>* stop = nullptr;
  bool keep_output_tokens = false;  // decoder only
  SampleSpec samples;
  // What the log is sized for; more is allowed and costs a reallocation.
  std::uint64_t expected_requests = 0;
  std::uint64_t expected_output_tokens = 0;
  // Called at most once in 100 ms, between steps.
  std::function<void(const DriveProgress&)> progress;
  // Called with every request that finishes, at its last token. For runs that time nothing.
  std::function<void(const RequestRecord&, const OutputSample&)> on_finished;
};

// Drives `engine`, which holds no request, until every request of the stream has ended, the time
// limit has passed or the stop flag is set. The error is the stream's: a workload that cannot be
// read on.
//
// Each turn: receive what has arrived; admit in order of arrival and prefill, up to
// budget.prefill_tokens positions; take one decode step over every slot that is past its prefill.
// When a slot cannot grow, the youngest request is preempted and goes back to the front of the
// queue; its prompt and output so far are prefilled again. Where the engine can fork, a request
// that shares all of its prompt but the last token with a slot past its prefill, and has no output
// yet, forks that slot: it prefills nothing and decodes in this turn's step. A request is refused
// when its prompt or its budget is empty, when a prompt token is not in the vocabulary, or when
// prompt + output - 1 positions exceed max_len or the engine's longest history.
//
// With `overlap` every slot is extended for the next step while a step runs, as if none of them
// ended, and the engine prepares for it; a slot for which there is no memory then is left for the
// next turn, and nobody is preempted meanwhile. What a slot that ends or is preempted was given is
// given back, and its row counted (EventLog::wasted_rows). Outputs are the same; when memory is
// short the schedule need not be.
//
// Times. Tokens of a step carry the time at which the step ended, the first token that of the last
// prefill chunk, or after a fork that of the first step. RequestRecord::enqueued - intended_arrival
// is the generator's own lag: the time that passed between the arrival and the moment the loop took
// it, less the time that the engine was computing in between, when no server could have taken it
// either. Latencies count from the intended arrival and so include all of it. In a closed loop a
// request arrives when another ends.
Result<EventLog> drive(Engine& engine, RequestStream& stream, const LoopMode& loop,
                       const DriveOptions& options, Clock& clock);

}  // namespace kvrm
