// Drives an engine through a few requests that come and go, without clocks or scheduling policy:
// for the engines' own tests. Header-only, tests only.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "harness/base/hash.h"
#include "harness/contract/content.h"
#include "harness/contract/engine.h"

namespace kvrm::testing_models {

struct TestRequest {
  std::uint64_t content_key = 0;
  std::uint32_t prompt_tokens = 0;
  std::uint32_t output_tokens = 0;
  std::vector<TokenId> prompt;  // empty for attention_only
  TokenId stop_token = kNoToken;
};

// `count` requests of mixed lengths; vocabulary 0 for attention_only.
inline std::vector<TestRequest> mixed_requests(std::uint32_t count, std::uint32_t longest,
                                               std::uint32_t vocabulary, std::uint64_t seed) {
  RandomStream random(seed, "test requests");
  std::vector<TestRequest> requests(count);
  for (TestRequest& request : requests) {
    request.content_key = random.next();
    request.prompt_tokens = 1 + static_cast<std::uint32_t>(random.below(longest * 2 / 3));
    request.output_tokens =
        1 + static_cast<std::uint32_t>(random.below(longest - request.prompt_tokens));
    for (std::uint32_t i = 0; vocabulary > 0 && i < request.prompt_tokens; ++i) {
      request.prompt.push_back(content_token(request.content_key, i, vocabulary));
    }
  }
  return requests;
}

// What a request got: its tokens, and a hash of each output's bits.
struct TestOutput {
  std::vector<TokenId> tokens;
  std::vector<std::uint64_t> digests;
  bool operator==(const TestOutput&) const = default;
};

class TestDrive {
 public:
  TestDrive(Engine& engine, const std::vector<TestRequest>& requests, std::uint32_t prefill_chunk)
      : engine_(engine),
        requests_(requests),
        prefill_chunk_(prefill_chunk),
        outputs_(requests.size()),
        slots_(engine.info().slots) {}

  // One admission at most between two steps, into the last free slot, so that rows join and leave a
  // running batch.
  std::vector<TestOutput> run() {
    do {
      admit_one();
      step();
    } while (running_ > 0 || next_ < requests_.size());
    return outputs_;
  }

 private:
  void admit_one() {
    if (next_ == requests_.size()) return;
    for (SlotIndex slot = engine_.info().slots; slot-- > 0;) {
      if (slots_[slot]) continue;
      const TestRequest& request = requests_[next_];
      const Admission admission{slot, next_, request.content_key, request.prompt_tokens,
                                request.prompt};
      if (!engine_.admit(admission)) return;
      slots_[slot] = next_++;
      ++running_;
      prefill(slot, request);
      return;
    }
  }

  void prefill(SlotIndex slot, const TestRequest& request) {
    for (std::uint32_t first = 0; first < request.prompt_tokens; first += prefill_chunk_) {
      const std::uint32_t count = std::min(prefill_chunk_, request.prompt_tokens - first);
      const bool last = first + count == request.prompt_tokens;
      const StepResult result = engine_.prefill({slot, first, count, last});
      ASSERT_EQ(result.rows.size(), last ? 1U : 0U);
      if (last) take(result.rows[0]);
    }
  }

  void step() {
    std::vector<SlotIndex> plan;
    for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
      if (!slots_[slot]) continue;
      ASSERT_TRUE(engine_.extend(slot));
      plan.push_back(slot);
    }
    if (plan.empty()) return;
    engine_.submit({++step_, plan});
    const StepResult result = engine_.collect();
    ASSERT_EQ(result.rows.size(), plan.size());
    for (std::size_t i = 0; i < plan.size(); ++i) {
      ASSERT_EQ(result.rows[i].slot, plan[i]);
      take(result.rows[i]);
    }
  }

  void take(const RowResult& row) {
    const std::size_t index = *slots_[row.slot];
    TestOutput& output = outputs_[index];
    output.tokens.push_back(row.token);
    output.digests.push_back(hash_bytes(std::as_bytes(row.output), row.output_digest));
    if (output.tokens.size() < requests_[index].output_tokens &&
        (row.token == kNoToken || row.token != requests_[index].stop_token)) {
      return;
    }
    engine_.release(row.slot);
    slots_[row.slot].reset();
    --running_;
  }

  Engine& engine_;
  const std::vector<TestRequest>& requests_;
  std::uint32_t prefill_chunk_;
  std::vector<TestOutput> outputs_;
  std::vector<std::optional<std::size_t>> slots_;
  std::size_t next_ = 0;
  std::uint32_t running_ = 0;
  Epoch step_ = 0;
};

inline std::vector<TestOutput> drive_all(Engine& engine, const std::vector<TestRequest>& requests,
                                         std::uint32_t prefill_chunk = 64) {
  return TestDrive(engine, requests, prefill_chunk).run();
}

}  // namespace kvrm::testing_models
