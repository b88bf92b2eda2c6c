// Builds the event log of one run. It takes facts from the loop and derives none but what the log
// itself defines: gaps, per-step differences of counters, and the chained digests.
#pragma once

#include <cstdint>
#include <vector>

#include "harness/base/hash.h"
#include "harness/contract/engine.h"
#include "harness/driver/drive.h"
#include "harness/driver/live_request.h"
#include "harness/result/event_log.h"

namespace kvrm {

class EventRecorder {
 public:
  EventRecorder(const Engine& engine, const DriveOptions& options);

  // Index of the new record.
  std::uint32_t arrived(const Request& request, Nanoseconds intended, Nanoseconds enqueued);
  void refused(std::uint32_t record);
  void admitted(std::uint32_t record, Nanoseconds time);
  void prefilled(std::uint32_t tokens, Nanoseconds duration);
  // One token (or attention output) of a request; `digest` is the token, or the output's hash.
  void token(LiveRequest& live, std::uint64_t digest, Nanoseconds time) {
    if (live.last_token < 0) {
      log_.requests[live.record].first_token = time;
    } else {
      log_.gaps.push_back(
          {time - live.last_token, static_cast<std::uint32_t>(log_.steps.size()), live.record});
    }
    live.last_token = time;
    live.digest = hash_combine(live.digest, digest);
    ++live.output_tokens;
    ++output_tokens_;
  }
  // Ends the step that the tokens since the previous call belong to. Its prefill fields, groups
  // and moved bytes are filled in here.
  void step(StepRecord step, const EngineUsage& usage);
  void finished(const LiveRequest& live);
  // A row that was planned ahead and never ran.
  void wasted_row() { ++log_.wasted_rows; }
  // A request that is still in the system at the end.
  void in_flight(const LiveRequest& live);
  void interrupted() { log_.interrupted = true; }

  const RequestRecord& record(std::uint32_t index) const { return log_.requests[index]; }
  std::uint64_t arrived_count() const { return log_.requests.size(); }
  std::uint64_t ended_count() const { return ended_; }
  std::uint64_t output_tokens() const { return output_tokens_; }

  EventLog take(Nanoseconds duration, const EngineUsage& end_usage,
                std::vector<OutputSample> samples);

 private:
  void close(RequestState state, const LiveRequest& live);

  EventLog log_;
  EngineCounters last_counters_;
  std::uint32_t prefill_tokens_ = 0;  // since the last step
  Nanoseconds prefill_time_ = 0;
  bool keep_output_tokens_;
  std::uint64_t ended_ = 0;
  std::uint64_t output_tokens_ = 0;
};

}  // namespace kvrm
