// Keeps the last outputs of a few finished requests for the oracle: the longest, some preempted
// ones, and a seeded random choice. Copies an output only when it is kept.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "harness/base/ids.h"
#include "harness/driver/drive.h"
#include "harness/result/event_log.h"

namespace kvrm {

// What a finished request offers; the spans need not outlive the call.
struct SampleOffer {
  RequestId request = 0;
  bool preempted = false;
  std::uint32_t history_tokens = 0;
  std::span<const TokenId> history;  // [history_tokens]; empty for attention_only
  TokenId token = kNoToken;
  std::span<const float> output;
};

OutputSample make_sample(const SampleOffer& offer);

class SampleKeeper {
 public:
  explicit SampleKeeper(const SampleSpec& spec);

  void offer(const SampleOffer& offer);
  // The kept ones by request, each once. Leaves nothing here.
  std::vector<OutputSample> take();

 private:
  // The `capacity` samples with the lowest keys.
  struct Group {
    std::uint32_t capacity = 0;
    std::vector<std::pair<std::uint64_t, OutputSample>> kept;  // ascending

    void offer(std::uint64_t key, const SampleOffer& offer);
  };

  std::uint64_t seed_;
  Group longest_;
  Group preempted_;
  Group random_;
};

}  // namespace kvrm
