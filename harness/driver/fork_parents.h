// The slots that a request may fork, and which requests may: parallel samples of one prompt, on an
// engine that can. Whether there is memory for it is the engine's to say.
#pragma once

#include <optional>

#include "harness/contract/engine.h"
#include "harness/contract/request.h"
#include "harness/driver/live_request.h"
#include "harness/driver/prefix_index.h"

namespace kvrm {

class ForkParents {
 public:
  explicit ForkParents(const EngineInfo& info) : can_fork_(info.can_fork), prompts_(info.slots) {}

  // The slot is past its prefill, or a fork: others may share the prompt that it holds.
  void add(SlotIndex slot, const Request& request);
  // The slot gives its history up. Idempotent.
  void remove(SlotIndex slot) { prompts_.erase(slot); }
  // A slot that holds all of the request's known positions but the last. None for a request that
  // has output, which no other shares.
  std::optional<SlotIndex> find(const LiveRequest& live) const;

 private:
  bool can_fork_;
  PrefixIndex prompts_;
};

}  // namespace kvrm
