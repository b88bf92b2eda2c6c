// For the tests of pooled engines: a random schedule of admissions, chunked prefills, steps,
// preemptions and releases. Header-only, tests only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "harness/base/hash.h"
#include "harness/base/prng.h"
#include "harness/contract/content.h"
#include "harness/contract/engine.h"

namespace kvrm::pooled_testing {

struct TestRequest {
  std::uint64_t content_key = 0;
  std::uint32_t prompt_tokens = 0;
  std::uint32_t output_tokens = 0;
};

inline std::vector<TestRequest> draw_requests(std::uint64_t seed, std::size_t count,
                                              std::uint32_t max_len) {
  RandomStream random(seed, "requests");
  std::vector<TestRequest> requests(count);
  for (TestRequest& request : requests) {
    const auto total = static_cast<std::uint32_t>(2 + random.below(max_len - 1));
    request.content_key = random.next();
    request.prompt_tokens = static_cast<std::uint32_t>(1 + random.below(total - 1));
    request.output_tokens = total - request.prompt_tokens + 1;  // the last one needs no position
  }
  return requests;
}

// Runs requests through an engine on a random schedule, preempting the youngest when memory runs
// out, and records what every token came from.
class Churn {
 public:
  // vocabulary 0: attention_only. `after_step` is called after each collect(), before
  // anything is released.
  Churn(Engine& engine, std::vector<TestRequest> requests, std::uint32_t vocabulary,
        std::uint64_t seed, std::function<void()> after_step = {})
      : engine_(engine),
        requests_(std::move(requests)),
        vocabulary_(vocabulary),
        random_(seed, "churn"),
        after_step_(std::move(after_step)),
        outputs_(requests_.size()),
        tokens_(requests_.size()),
        slots_(engine.info().slots) {
    for (std::size_t i = requests_.size(); i > 0; --i) waiting_.push_back(i - 1);
  }

  // [request][output token]: hash of the logits, or of the attention output.
  const std::vector<std::vector<std::uint64_t>>& run() {
    while (!waiting_.empty() || running() > 0) {
      release_at_random();
      admit_some();
      step();
    }
    return outputs_;
  }
  std::uint64_t preemptions() const { return preemptions_; }

 private:
  struct Running {
    std::size_t request = 0;
    std::uint64_t age = 0;
  };

  std::size_t running() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(slots_, [](const auto& slot) { return slot.has_value(); }));
  }

  void admit_some() {
    while (!waiting_.empty() && (running() == 0 || random_.below(3) != 0)) {
      std::vector<SlotIndex> free;
      for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
        if (!slots_[slot]) free.push_back(slot);
      }
      if (free.empty() || !admit(free[random_.below(free.size())], waiting_.back())) return;
      waiting_.pop_back();
    }
  }

  bool admit(SlotIndex slot, std::size_t index) {
    const TestRequest& request = requests_[index];
    // A preempted request comes back with its output so far, which is recomputed.
    std::vector<TokenId> prompt = tokens_[index];
    const auto count = static_cast<std::uint32_t>(request.prompt_tokens + outputs_[index].size());
    if (vocabulary_ > 0) {
      for (std::uint32_t i = 0; i < request.prompt_tokens; ++i) {
        prompt.insert(prompt.begin() + i, content_token(request.content_key, i, vocabulary_));
      }
    }
    if (!engine_.admit({slot, index, request.content_key, count, prompt})) return false;
    slots_[slot] = Running{index, ++age_};
    std::uint32_t done = 0;
    while (done < count) {
      const auto chunk = static_cast<std::uint32_t>(1 + random_.below(count - done));
      const bool last = done + chunk == count;
      const StepResult result = engine_.prefill({slot, done, chunk, last});
      EXPECT_EQ(result.rows.size(), last ? 1U : 0U);
      done += chunk;
      for (const RowResult& row : result.rows) take(row);
    }
    return true;
  }

  void step() {
    std::vector<SlotIndex> plan;
    for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
      while (slots_[slot] && !engine_.extend(slot)) preempt_youngest(plan);
      if (slots_[slot]) plan.push_back(slot);
    }
    if (plan.empty()) return;
    engine_.submit({++steps_, plan});
    const StepResult result = engine_.collect();
    ASSERT_EQ(result.rows.size(), plan.size());
    if (after_step_) after_step_();
    for (std::size_t i = 0; i < plan.size(); ++i) {
      EXPECT_EQ(result.rows[i].slot, plan[i]);
      take(result.rows[i]);
    }
  }

  void take(const RowResult& row) {
    const std::size_t request = slots_[row.slot]->request;
    EXPECT_TRUE(std::ranges::all_of(row.output, [](float value) { return std::isfinite(value); }));
    outputs_[request].push_back(hash_bytes(std::as_bytes(row.output)));
    if (vocabulary_ > 0) tokens_[request].push_back(row.token);
    if (outputs_[request].size() < requests_[request].output_tokens) return;
    engine_.release(row.slot);
    slots_[row.slot].reset();
  }

  void preempt_youngest(std::vector<SlotIndex>& plan) {
    ++preemptions_;
    SlotIndex youngest = 0;
    std::uint64_t age = 0;
    for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot] && slots_[slot]->age > age) {
        age = slots_[slot]->age;
        youngest = slot;
      }
    }
    put_back(youngest);
    std::erase(plan, youngest);
  }

  void release_at_random() {
    if (random_.below(12) != 0) return;
    const auto slot = static_cast<SlotIndex>(random_.below(slots_.size()));
    if (slots_[slot]) put_back(slot);
    engine_.release(slot);  // nothing happens where it is free
  }

  void put_back(SlotIndex slot) {
    engine_.release(slot);
    waiting_.push_back(slots_[slot]->request);
    slots_[slot].reset();
  }

  Engine& engine_;
  std::vector<TestRequest> requests_;
  std::uint32_t vocabulary_;
  RandomStream random_;
  std::function<void()> after_step_;
  std::vector<std::vector<std::uint64_t>> outputs_;
  std::vector<std::vector<TokenId>> tokens_;  // sampled so far
  std::vector<std::optional<Running>> slots_;
  std::vector<std::size_t> waiting_;  // the next one last
  std::uint64_t age_ = 0;
  std::uint64_t preemptions_ = 0;
  Epoch steps_ = 0;
};

}  // namespace kvrm::pooled_testing
