// The protocol of Engine's calls over the entries of a descriptor log, which may hold anything:
// what no driver would do is said before an engine is asked to do it. It knows lengths and states
// of slots, not memory: whether a history finds room is the engine's answer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "harness/contract/engine.h"

namespace kvrm {

class LogCalls {
 public:
  // Tokens are below `vocabulary`, or absent where it is 0 (attention_only).
  LogCalls(const EngineInfo& info, std::uint32_t vocabulary)
      : info_(info), vocabulary_(vocabulary), slots_(info.slots) {}

  // Each gives what is wrong with the call ("admits a slot in use"), or nothing and counts it as
  // made.
  std::string admit(const Admission& admission);
  std::string prefill(const PrefillChunk& chunk);
  std::string extend(SlotIndex slot);
  std::string release(SlotIndex slot);
  std::string step(std::span<const SlotIndex> slots);

 private:
  struct Slot {
    bool used = false;
    std::uint32_t prompt = 0;
    std::uint32_t computed = 0;
    std::uint32_t length = 0;
  };

  std::string fork_fault(const Admission& admission) const;
  std::string token_fault(const Admission& admission) const;

  EngineInfo info_;
  std::uint32_t vocabulary_;
  std::vector<Slot> slots_;  // [info.slots]
};

}  // namespace kvrm
