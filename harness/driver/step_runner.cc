#include "harness/driver/step_runner.h"

#include <algorithm>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/trace/trace_range.h"

namespace kvrm {

StepResult StepRunner::run(std::span<const SlotIndex> plan, std::span<const SlotIndex> growing,
                           StepRecord& step) {
  has_room_.assign(has_room_.size(), false);  // it is used now
  step.start = now();
  engine_.submit({.step = ++step_, .slots = plan});
  if (overlap_) plan_ahead(growing);
  const Nanoseconds worked_until = now();
  const StepResult result = engine_.collect();
  step.end = now();
  KVRM_CHECK_EQ(result.rows.size(), plan.size());
  step.active_slots = static_cast<std::uint32_t>(plan.size());
  step.phases = result.phases;
  DeviceRun device = result.device;
  device.begin -= origin_;
  device.end -= origin_;
  const HostTimes host = host_.step_ended(device, worked_until, step.end);
  step.hidden_host = host.hidden;
  step.exposed_host = host.exposed;
  return result;
}

// Nobody is preempted for it: who finds no memory now is left for the next turn.
void StepRunner::plan_ahead(std::span<const SlotIndex> growing) {
  ahead_.clear();
  for (const SlotIndex slot : growing) {
    if (!engine_.extend(slot)) continue;
    has_room_[slot] = true;
    ahead_.push_back(slot);
  }
  std::ranges::sort(ahead_);
  const Epoch next = step_ + 1;
  const TraceRange range(TraceName::plan,
                         KVRM_MUTATE(trace_ahead_has_the_running_step, next, step_));
  engine_.prepare({.step = next, .slots = ahead_});
}

}  // namespace kvrm
