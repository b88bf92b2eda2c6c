#include "engines/kvrm/log_calls.h"

#include <algorithm>
#include <functional>

namespace kvrm {

std::string LogCalls::admit(const Admission& admission) {
  if (admission.slot >= slots_.size()) return "admits to a slot that is not there";
  Slot& slot = slots_[admission.slot];
  if (slot.used) return "admits to a slot in use";
  if (admission.token_count == 0 || admission.token_count > info_.max_history_tokens) {
    return "admits a history of a length that cannot be";
  }
  if (std::string fault = token_fault(admission); !fault.empty()) return fault;
  if (!admission.fork_from) {
    slot = {.used = true, .prompt = admission.token_count, .length = admission.token_count};
    return {};
  }
  if (std::string fault = fork_fault(admission); !fault.empty()) return fault;
  const std::uint32_t shared = admission.token_count - 1;
  slot = {.used = true, .prompt = shared, .computed = shared, .length = shared};
  return {};
}

std::string LogCalls::token_fault(const Admission& admission) const {
  const std::size_t expected = vocabulary_ == 0 ? 0 : admission.token_count;
  if (admission.tokens.size() != expected) return "does not have the tokens that it counts";
  const auto known = [this](TokenId token) { return token < vocabulary_; };
  return std::ranges::all_of(admission.tokens, known) ? "" : "has tokens outside the vocabulary";
}

std::string LogCalls::fork_fault(const Admission& admission) const {
  if (!info_.can_fork) return "forks a slot, which this engine cannot";
  if (*admission.fork_from >= slots_.size()) return "forks a slot that is not there";
  const Slot& source = slots_[*admission.fork_from];
  const std::uint32_t shared = admission.token_count - 1;
  const bool ready = source.used && source.prompt <= source.computed;
  return ready && shared > 0 && shared <= source.computed ? ""
                                                          : "forks a slot that does not share that";
}

std::string LogCalls::prefill(const PrefillChunk& chunk) {
  if (chunk.slot >= slots_.size()) return "prefills a slot that is not there";
  Slot& slot = slots_[chunk.slot];
  const std::uint32_t left = slot.prompt - std::min(slot.prompt, slot.computed);
  if (!slot.used || chunk.count == 0 || chunk.first != slot.computed || chunk.count > left ||
      chunk.last != (chunk.count == left)) {
    return "prefills what is not the slot's next chunk";
  }
  slot.computed += chunk.count;
  return {};
}

std::string LogCalls::extend(SlotIndex index) {
  if (index >= slots_.size()) return "extends a slot that is not there";
  Slot& slot = slots_[index];
  if (!slot.used || slot.computed < slot.prompt || slot.length != slot.computed ||
      slot.length >= info_.max_history_tokens) {
    return "extends a slot that does not take a position now";
  }
  ++slot.length;
  return {};
}

std::string LogCalls::release(SlotIndex slot) {
  if (slot >= slots_.size()) return "releases a slot that is not there";
  slots_[slot] = {};
  return {};
}

std::string LogCalls::step(std::span<const SlotIndex> slots) {
  if (slots.empty()) return "is a step of no slots";
  if (std::ranges::adjacent_find(slots, std::ranges::greater_equal()) != slots.end()) {
    return "is a step whose slots do not ascend";
  }
  for (const SlotIndex index : slots) {
    if (index >= slots_.size() || !slots_[index].used ||
        slots_[index].length != slots_[index].computed + 1) {
      return "is a step of a slot that was not extended";
    }
  }
  for (const SlotIndex index : slots) ++slots_[index].computed;
  return {};
}

}  // namespace kvrm
