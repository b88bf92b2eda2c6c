// Takes an engine through one decode step and, with overlap, through what can be done of the next
// one while it runs. Which slots run, and what becomes of their tokens, is the loop's business.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "harness/base/ids.h"
#include "harness/contract/engine.h"
#include "harness/device/clock.h"
#include "harness/driver/host_meter.h"
#include "harness/result/event_log.h"

namespace kvrm {

class StepRunner {
 public:
  StepRunner(Engine& engine, Clock& clock, bool overlap)
      : engine_(engine), clock_(clock), overlap_(overlap), has_room_(engine.info().slots) {}

  // The run's zero of time.
  void begin(Nanoseconds origin) { origin_ = origin; }
  // So long went by in prefill, or waiting for an arrival.
  void set_aside(Nanoseconds duration) { host_.set_aside(duration); }
  // Runs a step over `plan` (ascending). With overlap `growing`, those of the plan whose histories
  // may be longer, in the order in which they get memory, are extended for the next step meanwhile
  // as far as it goes, and the engine prepares for them. Fills in the step's times.
  StepResult run(std::span<const SlotIndex> plan, std::span<const SlotIndex> growing,
                 StepRecord& step);

  bool overlaps() const { return overlap_; }
  // The number of the step that run() takes next.
  Epoch next_step() const { return step_ + 1; }
  // The slot has room for the next step already.
  bool has_room(SlotIndex slot) const { return has_room_[slot]; }
  // The slot was released. True where it had room: a row was planned for nothing.
  bool forget(SlotIndex slot) {
    const bool had = has_room_[slot];
    has_room_[slot] = false;
    return had;
  }

 private:
  Nanoseconds now() const { return clock_.now() - origin_; }
  void plan_ahead(std::span<const SlotIndex> growing);

  Engine& engine_;
  Clock& clock_;
  bool overlap_;
  Nanoseconds origin_ = 0;
  Epoch step_ = 0;
  HostMeter host_;
  std::vector<bool> has_room_;    // [slots]
  std::vector<SlotIndex> ahead_;  // ascending
};

}  // namespace kvrm
