// Test only: an engine whose memory is a number of positions, whose times are scripted on a manual
// clock, and whose outputs are a hash of the history, so that any schedule must give the same ones.
// It checks the driver's side of the contract at every call.
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
  std::uint64_t reserved_bytes = 0;
  ManualClock* clock = nullptr;                                  // advanced by the times below
  std::function<Nanoseconds(const PrefillChunk&)> prefill_time;  // empty: 0
  std::function<Nanoseconds(const StepPlan&)> step_time;
  std::function<void(const FakeRow&)> fault;
  ShadowError shadow;  // of an oracle that follows a far-history rule
};

// An admission, or a release (of an end or a preemption).
struct FakeEvent {
  bool admitted = false;
  RequestId request = 0;
  bool operator==(const FakeEvent&) const = default;
};

class FakeEngine final : public Engine {
 public:
  explicit FakeEngine(FakeScript script) : script_(std::move(script)), slots_(script_.info.slots) {}

  const std::vector<FakeEvent>& events() const { return events_; }
  // 'p' for a prefill chunk, 's' for a step.
  const std::string& calls() const { return calls_; }
  std::uint64_t used_tokens() const { return used_; }

 private:
  struct Held {
    RequestId request = 0;
    std::uint64_t content_key = 0;
    std::uint64_t prefix_key = 0;
    std::uint32_t prefix_tokens = 0;
    std::uint32_t first_known = 0;
    std::uint32_t room = 0;
    std::uint32_t positions = 0;
    std::uint64_t chain = 0;
    std::vector<TokenId> tokens;
  };

  const EngineInfo& do_info() const override { return script_.info; }
  bool decoder() const { return script_.shape.kind == ModelKind::decoder; }

  bool do_admit(const Admission& admission) override {
    KVRM_CHECK_LT(admission.slot, slots_.size());
    KVRM_CHECK(!slots_[admission.slot].has_value());
    KVRM_CHECK_LT(0U, admission.token_count);
    KVRM_CHECK_LE(admission.token_count, script_.info.max_history_tokens);
    KVRM_CHECK_EQ(admission.tokens.size(), decoder() ? admission.token_count : 0U);
    if (used_ + admission.token_count > script_.capacity_tokens) return false;
    used_ += admission.token_count;
    first_known_.try_emplace(admission.request, admission.token_count);
    slots_[admission.slot] = Held{.request = admission.request,
                                  .content_key = admission.content_key,
                                  .prefix_key = admission.prefix_key,
                                  .prefix_tokens = admission.prefix_tokens,
                                  .first_known = first_known_[admission.request],
                                  .room = admission.token_count,
                                  .tokens = {admission.tokens.begin(), admission.tokens.end()}};
    events_.push_back({true, admission.request});
    return true;
  }

  StepResult do_prefill(const PrefillChunk& chunk) override {
    KVRM_CHECK(slots_[chunk.slot].has_value());
    Held& held = *slots_[chunk.slot];
    KVRM_CHECK_EQ(chunk.first, held.positions);
    KVRM_CHECK_LT(0U, chunk.count);
    KVRM_CHECK_LE(chunk.first + chunk.count, held.room);
    KVRM_CHECK_EQ(chunk.last, chunk.first + chunk.count == held.room);
    for (std::uint32_t i = 0; i < chunk.count; ++i) consume(held);
    if (script_.prefill_time) script_.clock->advance(script_.prefill_time(chunk));
    calls_ += 'p';
    rows_.clear();
    outputs_.assign(1, {});
    if (chunk.last) give_row(chunk.slot, 0, 1);
    return {.rows = rows_, .phases = {}};
  }

  bool do_extend(SlotIndex slot) override {
    Held& held = *slots_[slot];
    KVRM_CHECK_EQ(held.room, held.positions);
    if (used_ == script_.capacity_tokens) return false;
    ++used_;
    ++held.room;
    return true;
  }

  void do_submit(const StepPlan& plan) override {
    KVRM_CHECK(!plan.slots.empty());
    KVRM_CHECK(std::adjacent_find(plan.slots.begin(), plan.slots.end(), std::greater_equal<>()) ==
               plan.slots.end());
    KVRM_CHECK_EQ(plan.step, ++step_);
    plan_.assign(plan.slots.begin(), plan.slots.end());
    if (script_.step_time) script_.clock->advance(script_.step_time(plan));
  }

  StepResult do_collect() override {
    calls_ += 's';
    rows_.clear();
    outputs_.assign(plan_.size(), {});
    for (std::size_t i = 0; i < plan_.size(); ++i) {
      Held& held = *slots_[plan_[i]];
      KVRM_CHECK_LT(held.positions, held.room);
      consume(held);
      give_row(plan_[i], i, static_cast<std::uint32_t>(plan_.size()));
    }
    return {.rows = rows_, .phases = {}};
  }

  void do_release(SlotIndex slot) override {
    if (!slots_[slot]) return;
    used_ -= slots_[slot]->room;
    events_.push_back({false, slots_[slot]->request});
    slots_[slot].reset();
  }

  EngineUsage do_usage() const override {
    EngineUsage usage;
    usage.shadow = script_.shadow;
    usage.memory.reserved_bytes = script_.reserved_bytes;
    return usage;
  }

  std::uint64_t content(const Held& held, std::uint32_t position) const {
    if (decoder()) return held.tokens[position];
    return content_key_at(held.content_key, held.prefix_key, held.prefix_tokens, position) +
           position;
  }

  void consume(Held& held) {
    held.chain = hash_combine(held.chain + 1, content(held, held.positions));
    ++held.positions;
  }

  void give_row(SlotIndex slot, std::size_t place, std::uint32_t batch) {
    Held& held = *slots_[slot];
    std::vector<float>& output = outputs_[place];
    const std::uint32_t values = decoder() ? script_.shape.vocabulary : script_.shape.head_dim;
    for (std::uint32_t i = 0; i < values; ++i) {
      output.push_back(static_cast<float>(mix64(held.chain + i) >> 40) * 0x1p-24F);
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
                     .index = held.positions - held.first_known,
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
  std::map<RequestId, std::uint32_t> first_known_;  // prompt length, from the first admission
  std::uint64_t used_ = 0;
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
