#include "harness/driver/fork_parents.h"

namespace kvrm {

// A prompt that is given token by token is not named by its key.
void ForkParents::add(SlotIndex slot, const Request& request) {
  if (!can_fork_ || !request.prompt.empty()) return;
  if (request.prefix_tokens > 0) {
    prompts_.insert(slot, request.prefix_key, request.prefix_tokens);
  } else {
    prompts_.insert(slot, request.content_key, request.prompt_tokens);
  }
}

std::optional<SlotIndex> ForkParents::find(const LiveRequest& live) const {
  const Request& request = live.request;
  if (request.prefix_tokens == 0 || request.prefix_tokens + 1 != live.known_tokens() ||
      !request.prompt.empty()) {
    return std::nullopt;
  }
  const SlotIndex slot = prompts_.find(request.prefix_key, request.prefix_tokens);
  return slot == PrefixIndex::kNone ? std::nullopt : std::optional<SlotIndex>(slot);
}

}  // namespace kvrm
