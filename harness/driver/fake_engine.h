// Test only: an engine whose memory is a number of positions, whose times are scripted on a manual
// clock, and whose outputs are a hash of the history, so that any schedule must give the same ones.
// A fork takes over its parent's hash, so that a wrong parent gives wrong outputs; it shares memory
// for good and needs room for one position to begin. Its device works beside the caller: from
// submit() on for step_time, whatever the caller does meanwhile. Checks the driver's side of the
// contract at every call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "harness/base/check.h"
#include "harness/base/hash.h"
#include "harness/base/prng.h"
#include "harness/contract/content.h"
#include "harness/contract/engine.h"
#include "harness/contract/model.h"
#include "harness/contract/request.h"
#include "harness/device/clock.h"
#include "harness/device/device.h"
#include "harness/driver/drive.h"

namespace kvrm {

inline ModelShape fake_shape(ModelKind kind) {
  ModelShape shape;
  shape.kind = kind;
  shape.layers = 1;
  shape.query_heads = shape.kv_heads = 1;
  shape.head_dim = 8;
  shape.vocabulary = 64;
  shape.max_len = 256;
  return shape;
}

// What an engine may do to a row's result; index counts the request's outputs from 0.
struct FakeRow {
  RequestId request = 0;
  std::uint32_t index = 0;
  std::uint32_t batch = 0;  // rows of the step, 1 in prefill
  TokenId& token;
  std::uint64_t& digest;
  std::vector<float>& output;
};

struct FakeScript {
  EngineInfo info{.kind = "fake", .label = "fake", .slots = 4, .max_history_tokens = 256};
  ModelShape shape = fake_shape(ModelKind::decoder);
  std::uint64_t capacity_tokens = 1 << 20;
  std::uint32_t block_tokens = 1;  // memory is taken in so many at a time
  std::uint64_t reserved_bytes = 0;
  ManualClock* clock = nullptr;                                  // advanced by the times below
  std::function<Nanoseconds(const PrefillChunk&)> prefill_time;  // empty: 0
  std::function<Nanoseconds(const StepPlan&)> step_time;
  std::function<Nanoseconds(const StepPlan&)> prepare_time;
  std::function<void(const FakeRow&)> fault;
  ShadowError shadow;  // of an oracle that follows a far-history rule
};

// An admission, or a release (of an end or a preemption).
struct FakeEvent {
  bool admitted = false;
  RequestId request = 0;
  std::optional<RequestId> fork_of = std::nullopt;
  bool operator==(const FakeEvent&) const = default;
};

class FakeEngine final : public Engine {
 public:
  explicit FakeEngine(FakeScript script) : script_(std::move(script)), slots_(script_.info.slots) {}

  const std::vector<FakeEvent>& events() const { return events_; }
  // 'p' for a prefill chunk, 's' for a step, 'a' for a step prepared ahead.
  const std::string& calls() const { return calls_; }
  std::uint64_t used_tokens() const { return used_; }
  // Positions that went through prefill: all, and of a request those that it had had before.
  std::uint64_t prefilled_tokens() const { return prefilled_; }
  std::uint64_t recomputed_tokens(RequestId request) const {
    const auto found = had_.find(request);
    return found == had_.end() ? 0 : found->second.recomputed;
  }
  std::uint64_t refused_forks() const { return refused_forks_; }
  // Positions that extend() has given, in all.
  std::uint64_t extended() const { return extended_; }
  // Calls of extend() while a step ran that found no memory.
  std::uint64_t refused_ahead() const { return refused_ahead_; }

 private:
  struct Held {
    RequestId request = 0;
    std::uint64_t content_key = 0;
    std::uint64_t prefix_key = 0;
    std::uint32_t prefix_tokens = 0;
    std::uint32_t prefill_end = 0;
    std::uint32_t room = 0;
    std::uint32_t shared = 0;  // positions of `room` that another slot took memory for
    bool prefilled = false;
    bool in_step = false;  // of the step that runs, which computes one position more
    std::vector<std::uint64_t> chain = {0};  // hash of the first i positions, for each i so far
    std::vector<TokenId> tokens;

    std::uint32_t positions() const { return static_cast<std::uint32_t>(chain.size()) - 1; }
  };

  // What a request had over all its admissions.
  struct Had {
    std::uint32_t known = 0;  // of its first admission
    std::uint32_t positions = 0;
    std::uint64_t recomputed = 0;
  };

  const EngineInfo& do_info() const override { return script_.info; }
  bool decoder() const { return script_.shape.kind == ModelKind::decoder; }
  std::uint64_t memory_of(std::uint64_t tokens) const {
    return round_up(tokens, script_.block_tokens);
  }
  std::uint64_t memory_of(const Held& held) const {
    return memory_of(held.room) - memory_of(held.shared);
  }

  bool do_admit(const Admission& admission) override {
    KVRM_CHECK(!running_);
    KVRM_CHECK_LT(admission.slot, slots_.size());
    KVRM_CHECK(!slots_[admission.slot].has_value());
    KVRM_CHECK_LT(0U, admission.token_count);
    KVRM_CHECK_LE(admission.token_count, script_.info.max_history_tokens);
    KVRM_CHECK_EQ(admission.tokens.size(), decoder() ? admission.token_count : 0U);
    if (used_ + memory_of(admission.fork_from ? 1 : admission.token_count) >
        script_.capacity_tokens) {
      refused_forks_ += admission.fork_from ? 1 : 0;
      return false;
    }
    had_.try_emplace(admission.request, Had{.known = admission.token_count});
    Held held{.request = admission.request,
              .content_key = admission.content_key,
              .prefix_key = admission.prefix_key,
              .prefix_tokens = admission.prefix_tokens,
              .prefill_end = admission.token_count,
              .room = admission.token_count,
              .tokens = {admission.tokens.begin(), admission.tokens.end()}};
    if (admission.fork_from) fork(*admission.fork_from, held);
    used_ += memory_of(held);
    events_.push_back({true, admission.request});
    if (admission.fork_from) events_.back().fork_of = slots_[*admission.fork_from]->request;
    slots_[admission.slot] = std::move(held);
    return true;
  }

  void fork(SlotIndex parent_slot, Held& held) {
    KVRM_CHECK(script_.info.can_fork);
    KVRM_CHECK(slots_.at(parent_slot).has_value());
    const Held& parent = *slots_[parent_slot];
    const std::uint32_t shared = held.room - 1;
    KVRM_CHECK_LE(shared, parent.positions());
    KVRM_CHECK_LE(parent.prefill_end, parent.positions());
    for (std::uint32_t i = 0; i < shared; ++i) KVRM_CHECK_EQ(content(held, i), content(parent, i));
    held.chain.assign(parent.chain.begin(), parent.chain.begin() + shared + 1);
    held.room = held.shared = held.prefill_end = shared;
    held.prefilled = true;
    had_[held.request].positions = std::max(had_[held.request].positions, shared);
    ++forks_;
  }

  StepResult do_prefill(const PrefillChunk& chunk) override {
    KVRM_CHECK(!running_);
    KVRM_CHECK(slots_[chunk.slot].has_value());
    Held& held = *slots_[chunk.slot];
    KVRM_CHECK_EQ(chunk.first, held.positions());
    KVRM_CHECK_LT(0U, chunk.count);
    KVRM_CHECK_LE(chunk.first + chunk.count, held.room);
    KVRM_CHECK_EQ(chunk.last, chunk.first + chunk.count == held.room);
    Had& had = had_[held.request];
    for (std::uint32_t i = 0; i < chunk.count; ++i) {
      had.recomputed += held.positions() < had.positions ? 1 : 0;
      consume(held);
    }
    held.prefilled = chunk.last;
    prefilled_ += chunk.count;
    if (script_.prefill_time) script_.clock->advance(script_.prefill_time(chunk));
    calls_ += 'p';
    rows_.clear();
    outputs_.assign(1, {});
    if (chunk.last) give_row(chunk.slot, 0, 1);
    return {.rows = rows_, .phases = {}};
  }

  bool do_extend(SlotIndex slot) override {
    Held& held = *slots_[slot];
    KVRM_CHECK_EQ(held.room, held.positions() + (held.in_step ? 1U : 0U));
    KVRM_CHECK_LT(held.room, script_.info.max_history_tokens);
    const std::uint64_t more = memory_of(held.room + 1) - memory_of(held.room);
    if (used_ + more > script_.capacity_tokens) {
      refused_ahead_ += running_ ? 1 : 0;
      return false;
    }
    used_ += more;
    ++held.room;
    ++extended_;
    return true;
  }

  static void check_distinct(std::span<const SlotIndex> slots) {
    KVRM_CHECK(std::adjacent_find(slots.begin(), slots.end(), std::greater_equal<>()) ==
               slots.end());
  }

  void do_submit(const StepPlan& plan) override {
    KVRM_CHECK(!running_ && !plan.slots.empty());
    check_distinct(plan.slots);
    KVRM_CHECK_EQ(plan.step, ++step_);
    plan_.assign(plan.slots.begin(), plan.slots.end());
    // Every slot that was given room takes part.
    for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
      const bool planned = std::ranges::binary_search(plan_, slot);
      KVRM_CHECK(!planned || slots_[slot].has_value());
      if (!slots_[slot] || !slots_[slot]->prefilled) continue;
      KVRM_CHECK_EQ(slots_[slot]->room, slots_[slot]->positions() + (planned ? 1U : 0U));
      slots_[slot]->in_step = planned;
    }
    groups_ += plan.slots.size();
    running_ = true;
    device_ = {};
    if (script_.clock == nullptr) return;
    const Nanoseconds time = script_.step_time ? script_.step_time(plan) : 0;
    const Nanoseconds now = script_.clock->now();
    device_ = {.begin = now, .end = now + time, .busy = time, .concurrent = true};
  }

  void do_prepare(const StepPlan& next) override {
    KVRM_CHECK(running_);
    KVRM_CHECK_EQ(next.step, step_ + 1);
    check_distinct(next.slots);
    for (const SlotIndex slot : next.slots) {
      KVRM_CHECK(slots_[slot].has_value() && slots_[slot]->in_step);
      KVRM_CHECK_EQ(slots_[slot]->room, slots_[slot]->positions() + 2);
    }
    calls_ += 'a';
    if (script_.prepare_time) script_.clock->advance(script_.prepare_time(next));
  }

  StepResult do_collect() override {
    KVRM_CHECK(running_);
    running_ = false;
    if (script_.clock != nullptr) {
      static_cast<Clock*>(script_.clock)->sleep_until(device_.end);
    }
    calls_ += 's';
    rows_.clear();
    outputs_.assign(plan_.size(), {});
    for (std::size_t i = 0; i < plan_.size(); ++i) {
      Held& held = *slots_[plan_[i]];
      KVRM_CHECK_LT(held.positions(), held.room);
      consume(held);
      held.in_step = false;
      give_row(plan_[i], i, static_cast<std::uint32_t>(plan_.size()));
    }
    return {.rows = rows_, .phases = {}, .device = device_};
  }

  void do_release(SlotIndex slot) override {
    KVRM_CHECK(!running_);
    if (!slots_[slot]) return;
    used_ -= memory_of(*slots_[slot]);
    events_.push_back({false, slots_[slot]->request});
    slots_[slot].reset();
  }

  EngineUsage do_usage() const override {
    EngineUsage usage;
    usage.shadow = script_.shadow;
    usage.memory.reserved_bytes = script_.reserved_bytes;
    usage.counters.forks = forks_;
    usage.counters.groups = groups_;
    return usage;
  }

  std::uint64_t content(const Held& held, std::uint32_t position) const {
    if (decoder()) return held.tokens[position];
    return content_key_at(held.content_key, held.prefix_key, held.prefix_tokens, position) +
           position;
  }

  void consume(Held& held) {
    held.chain.push_back(hash_combine(held.chain.back() + 1, content(held, held.positions())));
    Had& had = had_[held.request];
    had.positions = std::max(had.positions, held.positions());
  }

  void give_row(SlotIndex slot, std::size_t place, std::uint32_t batch) {
    Held& held = *slots_[slot];
    std::vector<float>& output = outputs_[place];
    const std::uint32_t values = decoder() ? script_.shape.vocabulary : script_.shape.head_dim;
    for (std::uint32_t i = 0; i < values; ++i) {
      output.push_back(static_cast<float>(mix64(held.chain.back() + i) >> 40) * 0x1p-24F);
    }
    RowResult row{.slot = slot, .token = kNoToken};
    if (decoder()) {
      const auto best = std::max_element(output.begin(), output.end()) - output.begin();
      row.token = static_cast<TokenId>(best);
      row.output_digest = row.token;
    } else {
      row.output_digest = hash_bytes(std::as_bytes(std::span(output)));
    }
    if (script_.fault) {
      script_.fault({.request = held.request,
                     .index = held.positions() - had_[held.request].known,
                     .batch = batch,
                     .token = row.token,
                     .digest = row.output_digest,
                     .output = output});
    }
    row.output = output;
    if (decoder()) held.tokens.push_back(row.token);
    rows_.push_back(row);
  }

  FakeScript script_;
  std::vector<std::optional<Held>> slots_;
  std::map<RequestId, Had> had_;
  std::uint64_t used_ = 0;
  std::uint64_t prefilled_ = 0;
  std::uint64_t forks_ = 0;
  std::uint64_t groups_ = 0;  // one a row
  std::uint64_t refused_forks_ = 0;
  std::uint64_t extended_ = 0;
  std::uint64_t refused_ahead_ = 0;
  bool running_ = false;  // a step is, between submit() and collect()
  DeviceRun device_;
  Epoch step_ = 0;
  std::vector<SlotIndex> plan_;
  std::vector<RowResult> rows_;
  std::vector<std::vector<float>> outputs_;
  std::vector<FakeEvent> events_;
  std::string calls_;
};

// Requests from a list; `before_pull` runs before each is given.
class ListStream final : public RequestStream {
 public:
  explicit ListStream(std::vector<Request> requests, std::function<void()> before_pull = {})
      : requests_(std::move(requests)), before_pull_(std::move(before_pull)) {}

 private:
  Result<std::optional<Request>> do_next() override {
    if (before_pull_) before_pull_();
    if (next_ == requests_.size()) return std::nullopt;
    return requests_[next_++];
  }

  std::vector<Request> requests_;
  std::function<void()> before_pull_;
  std::size_t next_ = 0;
};

inline Request fake_request(RequestId id, Nanoseconds arrival, std::uint32_t prompt,
                            std::uint32_t output) {
  return {.id = id,
          .arrival = arrival,
          .prompt_tokens = prompt,
          .output_tokens = output,
          .content_key = mix64(id + 1000),
          .prompt = {},
          .stop_token = kNoToken};
}

inline DriveOptions fake_options(const FakeScript& script) {
  DriveOptions options;
  options.budget = {
      .kv_bytes = 1, .max_batch = script.info.slots, .max_len = 256, .prefill_tokens = 64};
  options.model_kind = script.shape.kind;
  options.vocabulary = script.shape.vocabulary;
  return options;
}

}  // namespace kvrm
