#include "harness/driver/live_request.h"

#include "harness/base/check.h"
#include "harness/contract/content.h"

namespace kvrm {

TokenId prompt_token(const Request& request, std::uint32_t index, std::uint32_t vocabulary) {
  return request.prompt.empty() ? content_token(request.content_key, index, vocabulary)
                                : request.prompt[index];
}

void write_prompt(const Request& request, std::uint32_t vocabulary, std::vector<TokenId>& tokens) {
  tokens.resize(request.prompt_tokens);
  for (std::uint32_t i = 0; i < request.prompt_tokens; ++i) {
    tokens[i] = prompt_token(request, i, vocabulary);
  }
}

RequestHandle LiveRequests::add(Request request, std::uint32_t record) {
  KVRM_CHECK(request.prompt.empty() || request.prompt.size() == request.prompt_tokens);
  if (free_.empty()) {
    free_.push_back(static_cast<RequestHandle>(requests_.size()));
    requests_.emplace_back();
  }
  const RequestHandle handle = free_.back();
  free_.pop_back();
  requests_[handle].request = std::move(request);
  requests_[handle].record = record;
  return handle;
}

void LiveRequests::remove(RequestHandle handle) {
  if (requests_[handle].history.capacity() > 0) {
    spare_histories_.push_back(std::move(requests_[handle].history));
  }
  requests_[handle] = LiveRequest{};
  free_.push_back(handle);
}

void LiveRequests::start_history(RequestHandle handle, std::uint32_t vocabulary) {
  LiveRequest& live = requests_[handle];
  if (!spare_histories_.empty()) {
    live.history = std::move(spare_histories_.back());
    spare_histories_.pop_back();
  }
  live.history.reserve(std::size_t{live.request.prompt_tokens} + live.request.output_tokens);
  write_prompt(live.request, vocabulary, live.history);
}

}  // namespace kvrm
