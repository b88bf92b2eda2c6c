#include "harness/driver/event_recorder.h"

#include <algorithm>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

// Beyond this the log grows as it goes: a reservation is only a promise, but not an unbounded one.
constexpr std::uint64_t kReserveLimit = std::uint64_t{1} << 26;

}  // namespace

EventRecorder::EventRecorder(const Engine& engine, const DriveOptions& options)
    : keep_output_tokens_(options.keep_output_tokens && options.model_kind == ModelKind::decoder) {
  log_.engine_label = engine.info().label;
  log_.repeat = options.repeat;
  log_.start_usage = engine.usage();
  last_counters_ = log_.start_usage.counters;
  log_.requests.reserve(std::min(options.expected_requests, kReserveLimit));
  log_.gaps.reserve(std::min(options.expected_output_tokens, kReserveLimit));
  const std::uint64_t slots = std::max<std::uint64_t>(1, engine.info().slots);
  log_.steps.reserve(std::min(options.expected_output_tokens / slots, kReserveLimit));
}

std::uint32_t EventRecorder::arrived(const Request& request, Nanoseconds intended,
                                     Nanoseconds enqueued) {
  KVRM_CHECK_EQ(request.id, log_.requests.size());
  RequestRecord record;
  record.id = request.id;
  record.prompt_tokens = request.prompt_tokens;
  record.output_budget = request.output_tokens;
  record.intended_arrival = intended;
  record.enqueued = enqueued;
  log_.requests.push_back(record);
  if (keep_output_tokens_) log_.output_tokens.emplace_back();
  log_.workload_digest = fold_request(log_.workload_digest, request);
  return static_cast<std::uint32_t>(log_.requests.size() - 1);
}

void EventRecorder::refused(std::uint32_t record) {
  log_.requests[record].state = RequestState::refused;
  ++ended_;
}

void EventRecorder::admitted(std::uint32_t record, Nanoseconds time) {
  if (KVRM_MUTATE(recorder_readmission_overwrites, log_.requests[record].admitted < 0, true))
    log_.requests[record].admitted = time;
}

void EventRecorder::prefilled(std::uint32_t tokens, Nanoseconds duration) {
  prefill_tokens_ += tokens;
  log_.prefilled_tokens += tokens;
  prefill_time_ += duration;
}

void EventRecorder::step(StepRecord step, const EngineUsage& usage) {
  step.prefill_tokens = KVRM_MUTATE(recorder_prefill_in_every_step,
                                    std::exchange(prefill_tokens_, 0), prefill_tokens_);
  step.prefill = std::exchange(prefill_time_, 0);
  step.memory = usage.memory;
  step.groups =
      usage.counters.groups - KVRM_MUTATE(recorder_groups_since_start, last_counters_.groups, 0U);
  step.moved_bytes = usage.counters.moved_bytes - last_counters_.moved_bytes;
  last_counters_ = usage.counters;
  log_.steps.push_back(step);
}

void EventRecorder::close(RequestState state, const LiveRequest& live) {
  RequestRecord& record = log_.requests[live.record];
  record.state = state;
  record.output_tokens = live.output_tokens;
  record.preemptions = live.preemptions;
  record.recomputed_tokens = live.recomputed_tokens;
  record.output_digest = live.digest;
  log_.preemptions += live.preemptions;
  log_.recomputed_tokens += live.recomputed_tokens;
  if (keep_output_tokens_ && !live.history.empty()) {
    log_.output_tokens[live.record].assign(live.history.begin() + live.request.prompt_tokens,
                                           live.history.end());
  }
}

void EventRecorder::finished(const LiveRequest& live) {
  close(RequestState::finished, live);
  log_.requests[live.record].finished = live.last_token;
  ++ended_;
}

void EventRecorder::in_flight(const LiveRequest& live) { close(RequestState::in_flight, live); }

EventLog EventRecorder::take(Nanoseconds duration, const EngineUsage& end_usage,
                             std::vector<OutputSample> samples) {
  log_.duration = duration;
  log_.end_usage = end_usage;
  log_.samples = std::move(samples);
  log_.output_digest = fold_output_digests(log_.requests);
  // A token that a recompute gave belongs to the step after it; at the end there may be none.
  const auto last_step = static_cast<std::uint32_t>(log_.steps.empty() ? 0 : log_.steps.size() - 1);
  for (auto gap = log_.gaps.rbegin(); gap != log_.gaps.rend() && gap->step > last_step; ++gap) {
    gap->step = last_step;
  }
  return std::move(log_);
}

}  // namespace kvrm
