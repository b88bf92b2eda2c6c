#include "harness/driver/drive.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/driver/arrivals.h"
#include "harness/driver/event_recorder.h"
#include "harness/driver/fork_parents.h"
#include "harness/driver/live_request.h"
#include "harness/driver/sample_keeper.h"
#include "harness/driver/scheduler.h"
#include "harness/driver/step_runner.h"
#include "harness/trace/trace_range.h"

namespace kvrm {
namespace {

constexpr Nanoseconds kProgressInterval = 100 * kNanosecondsPerMillisecond;
// Longest sleep in one piece, so that a stop flag is seen soon.
constexpr Nanoseconds kSleepSlice = 50 * kNanosecondsPerMillisecond;

class DriveLoop {
 public:
  DriveLoop(Engine& engine, RequestStream& stream, const LoopMode& loop,
            const DriveOptions& options, Clock& clock)
      : engine_(engine),
        options_(options),
        clock_(clock),
        arrivals_(stream, loop),
        scheduler_(engine.info().slots),
        fork_parents_(engine.info()),
        recorder_(engine, options),
        runner_(engine, clock, options.overlap),
        samples_(options.samples) {
    KVRM_CHECK_LT(0U, engine.info().slots);
    KVRM_CHECK_LT(0U, options.budget.prefill_tokens);
    KVRM_CHECK_LT(0U, options.budget.max_len);
    plan_.reserve(engine.info().slots);
    growing_.reserve(engine.info().slots);
    ended_.reserve(engine.info().slots);
  }

  Result<EventLog> run();

 private:
  struct Prefilling {
    SlotIndex slot = 0;
    std::uint32_t done = 0;  // positions
  };

  Nanoseconds now() const { return clock_.now() - origin_; }
  bool is_decoder() const { return options_.model_kind == ModelKind::decoder; }
  LiveRequest& holder(SlotIndex slot) { return live_[scheduler_.request_in(slot)]; }

  Status receive_arrivals();
  bool can_ever_fit(const Request& request) const;
  bool stop_asked() const;
  bool idle() const { return scheduler_.active_count() == 0 && scheduler_.waiting_count() == 0; }
  void wait_for_arrival();
  void admit_and_prefill();
  bool admit_next(std::uint32_t budget);
  void start_decoding(SlotIndex slot);
  std::uint32_t prefill_chunk(std::uint32_t budget);
  void make_room();
  bool extend_or_preempt(SlotIndex slot);
  void preempt_youngest();
  void list_growing();
  void release_memory(SlotIndex slot);
  void decode_step();
  bool take_row(const RowResult& row, Nanoseconds time);
  void offer_sample(const LiveRequest& live, const RowResult& row);
  void release_finished(SlotIndex slot, Nanoseconds time);
  void report_progress();
  EventLog finish();

  Engine& engine_;
  const DriveOptions& options_;
  Clock& clock_;
  Arrivals arrivals_;
  LagMeter lag_;
  Scheduler scheduler_;
  ForkParents fork_parents_;
  LiveRequests live_;
  EventRecorder recorder_;
  StepRunner runner_;
  SampleKeeper samples_;
  std::optional<Prefilling> prefilling_;  // always the youngest holder; all others decode
  std::vector<SlotIndex> plan_;
  std::vector<SlotIndex> growing_;
  std::vector<SlotIndex> ended_;  // in this step
  Epoch turn_ = 1;  // the step of this turn of the loop, which the turn's ranges carry
  Nanoseconds origin_ = 0;
  Nanoseconds last_event_ = 0;
  Nanoseconds next_progress_ = kProgressInterval;
};

Result<EventLog> DriveLoop::run() {
  origin_ = clock_.now();
  runner_.begin(origin_);
  while (true) {
    if (Status received = receive_arrivals(); !received) {
      return tl::unexpected<Error>(std::move(received.error()));
    }
    if (idle() && arrivals_.exhausted()) break;
    turn_ = KVRM_MUTATE(trace_turn_stale, runner_.next_step(), turn_);
    if (stop_asked()) {
      recorder_.interrupted();
      last_event_ = now();
      break;
    }
    if (idle()) {
      wait_for_arrival();
    } else {
      admit_and_prefill();
      decode_step();
    }
    report_progress();
  }
  return finish();
}

Status DriveLoop::receive_arrivals() {
  const Nanoseconds time = now();
  while (true) {
    Result<std::optional<Arrival>> taken = arrivals_.take(time);
    if (!taken) return tl::unexpected<Error>(std::move(taken.error()));
    if (!taken->has_value()) break;
    Arrival& arrival = **taken;
    const Nanoseconds lag = lag_.own_lag(arrival.intended, now());
    const std::uint32_t record = recorder_.arrived(
        arrival.request, KVRM_MUTATE(drive_arrival_when_taken, arrival.intended, now()),
        arrival.intended + lag);
    if (can_ever_fit(arrival.request)) {
      scheduler_.enqueue(live_.add(std::move(arrival.request), record));
    } else {
      recorder_.refused(record);
      arrivals_.request_ended(time);
    }
    last_event_ = std::max(last_event_, arrival.intended + lag);
  }
  lag_.reset();
  return {};
}

bool DriveLoop::can_ever_fit(const Request& request) const {
  if (request.prompt_tokens == 0 || request.output_tokens == 0) return false;
  // The last token given is never put into the history.
  const std::uint64_t positions = std::uint64_t{request.prompt_tokens} + request.output_tokens -
                                  KVRM_MUTATE(drive_longest_request_refused, 1U, 0U);
  if (positions > std::min(options_.budget.max_len, engine_.info().max_history_tokens)) {
    return false;
  }
  if (!is_decoder()) return true;
  return std::all_of(request.prompt.begin(), request.prompt.end(),
                     [&](TokenId token) { return token < options_.vocabulary; });
}

bool DriveLoop::stop_asked() const {
  if (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed)) return true;
  return options_.time_limit > 0 && now() >= options_.time_limit;
}

void DriveLoop::wait_for_arrival() {
  Nanoseconds until = std::min(arrivals_.next_arrival(), now() + kSleepSlice);
  if (options_.time_limit > 0) until = std::min(until, options_.time_limit);
  const Nanoseconds start = now();
  clock_.sleep_until(origin_ + until);
  runner_.set_aside(now() - start);
}

void DriveLoop::admit_and_prefill() {
  std::uint32_t budget = options_.budget.prefill_tokens;
  while (prefilling_ ? budget > 0 : admit_next(budget)) {
    if (!prefilling_) continue;
    const std::uint32_t used = prefill_chunk(budget);
    budget -= KVRM_MUTATE(drive_prefill_over_budget, used, 0U);
  }
}

// Strictly in order: while the front of the queue does not fit, nobody passes it. A fork has
// nothing to prefill and needs no budget.
bool DriveLoop::admit_next(std::uint32_t budget) {
  if (scheduler_.waiting_count() == 0) return false;
  const SlotIndex slot = scheduler_.free_slot();
  if (slot == Scheduler::kNoSlot) return false;
  const RequestHandle handle = scheduler_.front();
  LiveRequest& live = live_[handle];
  const std::optional<SlotIndex> parent = fork_parents_.find(live);
  if (budget == 0 && !parent) return false;
  if (is_decoder() && live.history.empty()) live_.start_history(handle, options_.vocabulary);
  Admission admission = make_admission(live.request, slot, live.known_tokens(), live.history);
  admission.fork_from = parent;
  if (!traced(TraceName::admit, turn_, [&] { return engine_.admit(admission); })) {
    // A history that can fit alone must fit into an empty engine.
    KVRM_CHECK_LT(0U, scheduler_.active_count());
    return false;
  }
  scheduler_.admit_front(slot);
  recorder_.admitted(live.record, now());
  if (parent) {
    live.computed_tokens = std::max(live.computed_tokens, live.request.prefix_tokens);
    start_decoding(slot);
  } else {
    prefilling_ = Prefilling{slot, 0};
  }
  return true;
}

void DriveLoop::start_decoding(SlotIndex slot) {
  scheduler_.start_decoding(slot);
  fork_parents_.add(slot, holder(slot).request);
}

std::uint32_t DriveLoop::prefill_chunk(std::uint32_t budget) {
  const SlotIndex slot = prefilling_->slot;
  LiveRequest& live = holder(slot);
  const std::uint32_t first = prefilling_->done;
  const std::uint32_t count = std::min(budget, live.known_tokens() - first);
  const bool last = first + count == live.known_tokens();

  const Nanoseconds start = now();
  const StepResult result = traced(TraceName::prefill, turn_, [&] {
    return engine_.prefill({.slot = slot, .first = first, .count = count, .last = last});
  });
  const Nanoseconds end = now();
  KVRM_CHECK_EQ(result.rows.size(), last ? 1U : 0U);
  lag_.engine_busy(start, end);
  recorder_.prefilled(count, end - start);
  runner_.set_aside(end - start);
  live.recomputed_tokens +=
      KVRM_MUTATE(drive_recompute_uncounted,
                  std::min(first + count, std::max(first, live.computed_tokens)) - first, 0U);
  live.computed_tokens = std::max(live.computed_tokens, first + count);
  prefilling_->done += count;
  if (last) {
    prefilling_.reset();
    start_decoding(slot);
    if (take_row(result.rows[0], end)) release_finished(slot, end);
    last_event_ = end;
  }
  return count;
}

// One more position for every decoding slot, the oldest first; the youngest pay for it.
void DriveLoop::make_room() {
  SlotIndex slot = scheduler_.oldest();
  while (slot != Scheduler::kNoSlot) {
    const bool needs_room = scheduler_.is_decoding(slot) && !runner_.has_room(slot);
    if (needs_room && !extend_or_preempt(slot)) return;
    slot = scheduler_.next_younger(slot);
  }
}

// False: the slot itself was the youngest and had to go.
bool DriveLoop::extend_or_preempt(SlotIndex slot) {
  while (!engine_.extend(slot)) {
    // A history that can fit alone must be extendable alone.
    KVRM_CHECK_LT(1U, scheduler_.active_count());
    const bool itself = scheduler_.youngest() == slot;
    preempt_youngest();
    if (itself) return false;
  }
  return true;
}

void DriveLoop::preempt_youngest() {
  const SlotIndex slot =
      KVRM_MUTATE(drive_preempts_the_oldest, scheduler_.youngest(), scheduler_.oldest());
  holder(slot).preemptions += KVRM_MUTATE(drive_preemption_uncounted, 1U, 0U);
  release_memory(slot);
  scheduler_.preempt(slot);
  if (prefilling_ && prefilling_->slot == slot) prefilling_.reset();
}

// Whose history may be longer after the step to come, the oldest first: one that is as long as any
// may be ends with it.
void DriveLoop::list_growing() {
  const std::uint32_t longest =
      std::min(options_.budget.max_len, engine_.info().max_history_tokens);
  growing_.clear();
  for (SlotIndex slot = scheduler_.oldest(); slot != Scheduler::kNoSlot;
       slot = scheduler_.next_younger(slot)) {
    const bool decoding = scheduler_.is_decoding(slot);
    if (decoding && holder(slot).known_tokens() < longest) growing_.push_back(slot);
  }
}

// Gives back all that the slot's request holds, room for a step to come too.
void DriveLoop::release_memory(SlotIndex slot) {
  KVRM_MUTATE(trace_release_unmarked,
              traced(TraceName::release, turn_, [&] { engine_.release(slot); }),
              engine_.release(slot));
  fork_parents_.remove(slot);
  if (runner_.forget(slot))
    KVRM_MUTATE(recorder_wasted_rows_uncounted, recorder_.wasted_row(), void());
}

void DriveLoop::decode_step() {
  make_room();
  scheduler_.list_decoding(plan_);
  if (plan_.empty()) return;

  StepRecord step;
  if (runner_.overlaps()) list_growing();
  const StepResult result = runner_.run(plan_, growing_, step);
  lag_.engine_busy(step.start, step.end);
  step.waiting_requests = static_cast<std::uint32_t>(scheduler_.waiting_count());

  ended_.clear();
  for (const RowResult& row : result.rows) {
    LiveRequest& live = holder(row.slot);
    live.computed_tokens = std::max(live.computed_tokens, live.known_tokens());
    if (take_row(row, step.end)) ended_.push_back(row.slot);
  }
  // From here on the rows are no longer valid.
  recorder_.step(step, engine_.usage());
  for (const SlotIndex slot : ended_) release_finished(slot, step.end);
  last_event_ = step.end;
}

// Stamps the row's token; true when it ends its request.
bool DriveLoop::take_row(const RowResult& row, Nanoseconds time) {
  KVRM_CHECK(scheduler_.is_decoding(row.slot));
  LiveRequest& live = holder(row.slot);
  bool stopped = false;
  if (is_decoder()) {
    KVRM_CHECK_LT(row.token, options_.vocabulary);
    live.history.push_back(row.token);
    stopped = KVRM_MUTATE(drive_stop_token_ignored, row.token == live.request.stop_token, false);
    recorder_.token(live, row.token, time);
  } else {
    recorder_.token(live, row.output_digest, time);
  }
  if (!stopped && live.output_tokens < live.request.output_tokens) return false;
  offer_sample(live, row);
  return true;
}

void DriveLoop::offer_sample(const LiveRequest& live, const RowResult& row) {
  const std::uint32_t positions =
      live.known_tokens() - KVRM_MUTATE(drive_sample_one_position_more, 1U, 0U);
  std::span<const TokenId> history;
  if (is_decoder()) history = std::span<const TokenId>(live.history).first(positions);
  const SampleOffer offer{.request = live.request.id,
                          .preempted = live.preemptions > 0,
                          .history_tokens = positions,
                          .history = history,
                          .token = row.token,
                          .output = row.output};
  samples_.offer(offer);
  if (options_.on_finished) options_.on_finished(recorder_.record(live.record), make_sample(offer));
}

void DriveLoop::release_finished(SlotIndex slot, Nanoseconds time) {
  const RequestHandle handle = scheduler_.request_in(slot);
  release_memory(slot);
  scheduler_.release(slot);
  recorder_.finished(live_[handle]);
  live_.remove(handle);
  arrivals_.request_ended(time);
}

void DriveLoop::report_progress() {
  if (!options_.progress) return;
  const Nanoseconds time = now();
  if (time < next_progress_) return;
  next_progress_ = time + kProgressInterval;
  options_.progress({.elapsed = time,
                     .arrived = recorder_.arrived_count(),
                     .ended = recorder_.ended_count(),
                     .output_tokens = recorder_.output_tokens()});
}

EventLog DriveLoop::finish() {
  while (scheduler_.active_count() > 0) {
    const SlotIndex slot = scheduler_.youngest();
    release_memory(slot);
    scheduler_.preempt(slot);
  }
  for (; scheduler_.waiting_count() > 0; scheduler_.drop_front()) {
    recorder_.in_flight(live_[scheduler_.front()]);
  }
  return recorder_.take(last_event_, engine_.usage(), samples_.take());
}

}  // namespace

Result<EventLog> drive(Engine& engine, RequestStream& stream, const LoopMode& loop,
                       const DriveOptions& options, Clock& clock) {
  return DriveLoop(engine, stream, loop, options, clock).run();
}

}  // namespace kvrm
