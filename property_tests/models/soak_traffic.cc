#include "property_tests/models/soak_traffic.h"

#include <algorithm>
#include <utility>

#include "harness/base/check.h"

namespace kvrm::soak {

EngineTraffic::EngineTraffic(Engine& engine, const TrafficShape& shape, std::uint64_t seed)
    : engine_(engine), shape_(shape), random_(seed, "soak"), slots_(engine.info().slots) {
  const MemoryUsage memory = engine.usage().memory;
  pool_bytes_ = memory.reserved_bytes - memory.staging_bytes;
  plan_.reserve(slots_.size());
  ahead_.reserve(slots_.size());
}

void EngineTraffic::run(std::uint64_t steps) {
  for (std::uint64_t i = 0; i < steps; ++i) {
    if (random_.below(64) == 0) {
      if (const auto slot = any_slot(true)) {
        ++counts_.cancellations;
        release(*slot);
      }
    }
    join_some();
    step();
  }
}

void EngineTraffic::close_all() {
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot]) release(slot);
  }
}

TrafficCounts EngineTraffic::take_counts() { return std::exchange(counts_, {}); }

double EngineTraffic::occupancy() const {
  return static_cast<double>(engine_.usage().memory.allocated_bytes) /
         static_cast<double>(pool_bytes_);
}

// A slot at random among those that are used, or free.
std::optional<SlotIndex> EngineTraffic::any_slot(bool used) {
  std::optional<SlotIndex> chosen;
  std::uint64_t seen = 0;
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].has_value() == used && random_.below(++seen) == 0) chosen = slot;
  }
  return chosen;
}

void EngineTraffic::join_some() {
  while (occupancy() < shape_.occupancy) {
    const auto slot = any_slot(false);
    if (!slot) return;
    const auto from = any_slot(true);
    const bool forks = engine_.info().can_fork && from && random_.below(shape_.fork_one_in) == 0;
    if (forks ? !fork(*slot, *from) : !join(*slot)) return;
  }
}

// A prompt that does not fit is drawn again, shorter.
bool EngineTraffic::join(SlotIndex slot) {
  std::uint32_t most = shape_.prompt_max;
  while (most >= shape_.prompt_min) {
    const std::uint32_t tokens = random_between(shape_.prompt_min, most);
    if (engine_.admit({.slot = slot,
                       .request = requests_,
                       .content_key = mix64(requests_),
                       .token_count = tokens,
                       .tokens = {}})) {
      ++counts_.joins;
      prefill(slot, tokens);
      start(slot, tokens);
      return true;
    }
    most = tokens - 1;
  }
  return false;
}

// In two chunks, where there is more than one position.
void EngineTraffic::prefill(SlotIndex slot, std::uint32_t tokens) {
  const std::uint32_t first = tokens > 1 ? random_between(1, tokens - 1) : tokens;
  engine_.prefill({.slot = slot, .first = 0, .count = first, .last = first == tokens});
  if (first == tokens) return;
  engine_.prefill({.slot = slot, .first = first, .count = tokens - first, .last = true});
}

bool EngineTraffic::fork(SlotIndex slot, SlotIndex from) {
  const Running& source = *slots_[from];
  const std::uint32_t written = source.length - (source.extended ? 1 : 0);
  const std::uint32_t shared = random_between((written + 1) / 2, written);
  if (!engine_.admit({.slot = slot,
                      .request = requests_,
                      .content_key = mix64(requests_),
                      .token_count = shared + 1,
                      .tokens = {},
                      .fork_from = from})) {
    return false;
  }
  ++counts_.forks;
  start(slot, shared);
  return true;
}

void EngineTraffic::start(SlotIndex slot, std::uint32_t length) {
  ++requests_;
  const std::uint32_t room = engine_.info().max_history_tokens - length;
  const std::uint32_t most = std::min(room, shape_.output_max);
  if (most == 0) return engine_.release(slot);
  slots_[slot] = Running{.length = length, .left = random_between(1, most)};
}

bool EngineTraffic::extend(SlotIndex slot) {
  Running& running = *slots_[slot];
  if (running.extended) return true;
  if (!engine_.extend(slot)) return false;
  running.extended = true;
  ++running.length;
  return true;
}

// Somebody else goes, so that the slot gets its block.
void EngineTraffic::preempt(SlotIndex needy) {
  auto victim = any_slot(true);
  while (*victim == needy) victim = any_slot(true);
  ++counts_.preemptions;
  std::erase(plan_, *victim);
  release(*victim);
}

void EngineTraffic::choose_slots() {
  plan_.clear();
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    if (!slots_[slot]) continue;
    if (random_.below(32) == 0) {
      ++counts_.pauses;
      continue;
    }
    while (!extend(slot)) preempt(slot);
    plan_.push_back(slot);
  }
}

void EngineTraffic::step() {
  choose_slots();
  counts_.occupancy_sum += occupancy();
  ++counts_.steps;
  if (plan_.empty()) return;
  engine_.submit({.step = ++epoch_, .slots = plan_});
  for (const SlotIndex slot : plan_) {
    slots_[slot]->extended = false;
    --slots_[slot]->left;
  }
  if (random_.below(4) == 0) work_ahead();
  engine_.collect();
  counts_.positions += plan_.size();
  for (const SlotIndex slot : plan_) {
    if (slots_[slot]->left > 0) continue;
    ++counts_.ends;
    release(slot);
  }
}

// While the step runs, room for the next one is taken as far as there is any.
void EngineTraffic::work_ahead() {
  ahead_.clear();
  for (const SlotIndex slot : plan_) {
    const bool wanted = slots_[slot]->left > 0 && random_.below(8) != 0;
    if (wanted && extend(slot)) ahead_.push_back(slot);
  }
  engine_.prepare({.step = epoch_ + 1, .slots = ahead_});
  counts_.prepared += ahead_.empty() ? 0 : 1;
}

void EngineTraffic::release(SlotIndex slot) {
  engine_.release(slot);
  slots_[slot].reset();
}

}  // namespace kvrm::soak
