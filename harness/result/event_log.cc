#include "harness/result/event_log.h"

#include <algorithm>

#include "harness/base/hash.h"

namespace kvrm {
namespace {

std::uint64_t word(Nanoseconds time) { return static_cast<std::uint64_t>(time); }

std::uint64_t pair_word(std::uint32_t high, std::uint32_t low) {
  return (std::uint64_t{high} << 32) | low;
}

std::uint64_t fold(std::uint64_t digest, const RequestRecord& request) {
  digest = hash_combine(digest, request.id);
  digest = hash_combine(digest, static_cast<std::uint64_t>(request.state));
  digest = hash_combine(digest, pair_word(request.prompt_tokens, request.output_budget));
  digest = hash_combine(digest, pair_word(request.output_tokens, request.preemptions));
  for (const Nanoseconds time : {request.intended_arrival, request.enqueued, request.admitted,
                                 request.first_token, request.finished}) {
    digest = hash_combine(digest, word(time));
  }
  return hash_combine(digest, request.output_digest);
}

std::uint64_t fold(std::uint64_t digest, const StepRecord& step) {
  digest = hash_combine(digest, word(step.start));
  digest = hash_combine(digest, word(step.end));
  digest = hash_combine(digest, pair_word(step.active_slots, step.prefill_tokens));
  for (const std::uint64_t bytes :
       {step.memory.reserved_bytes, step.memory.allocated_bytes, step.memory.live_bytes}) {
    digest = hash_combine(digest, bytes);
  }
  digest = hash_combine(digest, step.groups);
  return hash_combine(digest, step.moved_bytes);
}

}  // namespace

std::string_view request_state_name(RequestState state) {
  switch (state) {
    case RequestState::finished:
      return "finished";
    case RequestState::refused:
      return "refused";
    case RequestState::in_flight:
      return "in_flight";
  }
  return "unknown";
}

std::uint64_t fold_output_digests(std::span<const RequestRecord> requests) {
  std::vector<const RequestRecord*> finished;
  for (const RequestRecord& request : requests) {
    if (request.state == RequestState::finished) finished.push_back(&request);
  }
  std::sort(finished.begin(), finished.end(),
            [](const auto* a, const auto* b) { return a->id < b->id; });
  std::uint64_t digest = finished.size();
  for (const RequestRecord* request : finished) {
    digest = hash_combine(hash_combine(digest, request->id), request->output_digest);
  }
  return digest;
}

std::uint64_t event_log_digest(const EventLog& log) {
  std::uint64_t digest = hash_combine(log.workload_digest, hash_text(log.engine_label));
  digest = hash_combine(digest, log.repeat);
  digest = hash_combine(digest, word(log.duration));
  for (const RequestRecord& request : log.requests) digest = fold(digest, request);
  for (const StepRecord& step : log.steps) digest = fold(digest, step);
  for (const TokenGap& gap : log.gaps) {
    digest = hash_combine(hash_combine(digest, word(gap.gap)), pair_word(gap.step, gap.request));
  }
  digest = hash_combine(digest, log.wasted_rows);
  return hash_combine(digest, log.output_digest);
}

}  // namespace kvrm
