// The driver's own state of the requests that are in the system, waiting or active, and the tokens
// of their histories.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "harness/base/ids.h"
#include "harness/base/units.h"
#include "harness/contract/engine.h"
#include "harness/contract/model.h"
#include "harness/contract/request.h"
#include "harness/driver/scheduler.h"

namespace kvrm {

// Starting value of every chain of output digests.
inline constexpr std::uint64_t kDigestSeed = 0x6b76726d6f757470ULL;

// Token `index` of a request's prompt. `vocabulary` is the model's.
TokenId prompt_token(const Request& request, std::uint32_t index, std::uint32_t vocabulary);
// Replaces `tokens` by the whole prompt.
void write_prompt(const Request& request, std::uint32_t vocabulary, std::vector<TokenId>& tokens);

// Admission of a request with so many positions known, nothing shared. `tokens` is empty for
// attention_only and must outlive the result.
Admission make_admission(const Request& request, SlotIndex slot, std::uint32_t token_count,
                         std::span<const TokenId> tokens);

struct LiveRequest {
  Request request;
  std::uint32_t record = 0;         // index in EventLog::requests
  std::uint32_t output_tokens = 0;  // given so far
  std::uint32_t preemptions = 0;
  std::uint32_t recomputed_tokens = 0;
  // Most positions that it ever had, computed for it or shared with it, over all admissions.
  std::uint32_t computed_tokens = 0;
  Nanoseconds last_token = -1;
  std::uint64_t digest = kDigestSeed;
  std::vector<TokenId> history;  // decoder: prompt and output so far; empty until first admitted

  // Positions that an admission prefills.
  std::uint32_t known_tokens() const { return request.prompt_tokens + output_tokens; }
};

// Requests by handle. Handles and the histories' memory are used again, so that a long run
// allocates only as much as is ever held at once.
class LiveRequests {
 public:
  RequestHandle add(Request request, std::uint32_t record);
  void remove(RequestHandle handle);
  // Writes the prompt into the request's history, with room for its whole output.
  void start_history(RequestHandle handle, std::uint32_t vocabulary);

  LiveRequest& operator[](RequestHandle handle) { return requests_[handle]; }
  const LiveRequest& operator[](RequestHandle handle) const { return requests_[handle]; }

 private:
  std::vector<LiveRequest> requests_;
  std::vector<RequestHandle> free_;
  std::vector<std::vector<TokenId>> spare_histories_;
};

}  // namespace kvrm
