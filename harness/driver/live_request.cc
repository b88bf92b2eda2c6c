#include "harness/driver/live_request.h"

#include <optional>

#include "harness/base/check.h"
#include "harness/contract/content.h"

namespace kvrm {

TokenId prompt_token(const Request& request, std::uint32_t index, std::uint32_t vocabulary) {
  if (!request.prompt.empty()) return request.prompt[index];
  const std::uint64_t key =
      content_key_at(request.content_key, request.prefix_key, request.prefix_tokens, index);
  return content_token(key, index, vocabulary);
}

void write_prompt(const Request& request, std::uint32_t vocabulary, std::vector<TokenId>& tokens) {
  tokens.resize(request.prompt_tokens);
  for (std::uint32_t i = 0; i < request.prompt_tokens; ++i) {
    tokens[i] = prompt_token(request, i, vocabulary);
  }
}

Admission make_admission(const Request& request, SlotIndex slot, std::uint32_t token_count,
                         std::span<const TokenId> tokens) {
  return {.slot = slot,
          .request = request.id,
          .content_key = request.content_key,
          .token_count = token_count,
          .tokens = tokens,
          .prefix_key = request.prefix_key,
          .prefix_tokens = request.prefix_tokens,
          .fork_from = std::nullopt};
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
