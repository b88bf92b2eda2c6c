// Test only: an engine that is a queueing system of k servers on a manual clock. A slot is a
// server, a request keeps it for a drawn time and ends by its stop token; prefill takes no time, so
// that a request's wait is the time to its first token. Holds no KV and checks no contract:
// harness/driver/fake_engine.h does that.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "harness/contract/engine.h"
#include "harness/contract/request.h"
#include "harness/device/clock.h"

namespace kvrm::queueing {

inline constexpr Nanoseconds kNever = std::numeric_limits<Nanoseconds>::max();
inline constexpr TokenId kGoOn = 0;
inline constexpr TokenId kStop = 1;

// The generator's own requests, each of one prompt token, to be ended by the server. Knows when the
// next one comes, since the driver has asked for it already.
class ServedStream final : public RequestStream {
 public:
  explicit ServedStream(RequestStream& stream) : stream_(stream) {}
  Nanoseconds next_arrival() const { return next_arrival_; }

 private:
  static constexpr std::uint32_t kMostTokens = 20'000;

  Result<std::optional<Request>> do_next() override {
    Result<std::optional<Request>> pulled = stream_.next();
    if (!pulled || !*pulled) {
      next_arrival_ = kNever;
      return pulled;
    }
    Request& request = **pulled;
    request.output_tokens = kMostTokens;
    request.stop_token = kStop;
    next_arrival_ = request.arrival;
    return pulled;
  }

  RequestStream& stream_;
  Nanoseconds next_arrival_ = kNever;
};

class QueueEngine final : public Engine {
 public:
  QueueEngine(std::uint32_t servers, std::function<Nanoseconds()> draw_service,
              const ServedStream& stream, Clock& clock)
      : draw_service_(std::move(draw_service)), stream_(stream), clock_(clock), end_(servers) {
    info_.kind = info_.label = "queue";
    info_.slots = servers;
    info_.max_history_tokens = std::numeric_limits<std::uint32_t>::max();
  }

 private:
  const EngineInfo& do_info() const override { return info_; }
  bool do_admit(const Admission&) override { return true; }

  StepResult do_prefill(const PrefillChunk& chunk) override {
    end_[chunk.slot] = clock_.now() + draw_service_();
    rows_.assign(1, {.slot = chunk.slot, .token = kGoOn});
    return {.rows = rows_, .phases = {}};
  }

  bool do_extend(SlotIndex) override { return true; }

  // To the next end of a service; while a server is free only to the next arrival, which it takes.
  void do_submit(const StepPlan& plan) override {
    plan_.assign(plan.slots.begin(), plan.slots.end());
    step_end_ = plan_.size() < end_.size() ? stream_.next_arrival() : kNever;
    for (const SlotIndex slot : plan_) step_end_ = std::min(step_end_, end_[slot]);
  }

  StepResult do_collect() override {
    clock_.sleep_until(step_end_);
    rows_.clear();
    for (const SlotIndex slot : plan_) {
      rows_.push_back({.slot = slot, .token = end_[slot] <= step_end_ ? kStop : kGoOn});
    }
    return {.rows = rows_, .phases = {}};
  }

  void do_release(SlotIndex) override {}
  EngineUsage do_usage() const override { return {}; }

  EngineInfo info_;
  std::function<Nanoseconds()> draw_service_;
  const ServedStream& stream_;
  Clock& clock_;
  std::vector<Nanoseconds> end_;  // [servers] of the service that runs
  std::vector<SlotIndex> plan_;
  std::vector<RowResult> rows_;
  Nanoseconds step_end_ = 0;
};

}  // namespace kvrm::queueing
