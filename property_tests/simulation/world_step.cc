// A decode step of a simulated world: who takes part, what goes wrong in it, and what its rows must
// be.
#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "harness/base/hash.h"
#include "harness/base/units.h"
#include "property_tests/simulation/world.h"

namespace kvrm::simulation {

// One fault for a step, or a prefill chunk, of one engine.
bool World::arm(Instance& instance, bool launches_only, Draw& draw) {
  armed_.reset();
  const bool now = draw.chance(spec_.fault_rate);
  const std::uint64_t seed = draw.number();
  std::vector<Fault> possible;
  for (const Fault fault : spec_.faults) {
    if (disturbs_device(fault) || (damages_record(fault) && !launches_only)) {
      possible.push_back(fault);
    }
  }
  if (!now || possible.empty()) return false;
  armed_ = possible[seed % possible.size()];
  instance.device().arm(*armed_, seed);
  say(fmt::format("{}: {}", instance.label(), fault_name(*armed_)));
  return true;
}

void World::disarm(Instance& instance, bool armed) {
  if (!armed || !instance.device().disarm()) return;
  ++totals_.faults[static_cast<std::size_t>(*armed_)];
}

std::vector<SlotIndex> World::choose_slots(Draw& draw) {
  std::vector<SlotIndex> plan;
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    if (!slots_[slot] || !slots_[slot]->decodes()) continue;
    if (spec_.pause_one_in > 0 && draw.one_in(spec_.pause_one_in)) continue;
    plan.push_back(slot);
  }
  return plan;
}

// The youngest other request goes from all engines as long as one has no room.
bool World::make_room(SlotIndex slot, std::vector<SlotIndex>& plan) {
  for (const auto& instance : instances_) {
    while (!instance->extend(slot)) {
      const auto victim = youngest_but(slot);
      if (!victim) {
        fail_with(instance->label() + ": a history that is alone has no room");
        return false;
      }
      say(fmt::format("preempt slot {}, for slot {} of {}", *victim, slot, instance->label()));
      ++totals_.preemptions;
      std::erase(plan, *victim);
      remove(*victim, parked_.size() < 8);
    }
  }
  return true;
}

void World::step(Draw& draw) {
  std::vector<SlotIndex> plan = choose_slots(draw);
  // A victim leaves the plan while it is walked.
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    const bool planned = std::ranges::find(plan, slot) != plan.end();
    if (planned && !make_room(slot, plan)) return;
  }
  if (plan.empty()) return;
  say(fmt::format("step of slots {}", fmt::join(plan, " ")));
  ++epoch_;
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) truths_[slot].active = false;
  for (const SlotIndex slot : plan) {
    ++slots_[slot]->truth.positions;
    truths_[slot] = slots_[slot]->truth;
    truths_[slot].active = true;
  }
  for (const auto& instance : instances_) step_instance(*instance, plan, draw);
  read_back(draw, plan);
  check_memory();
  end_finished(plan);
}

// Where nothing is shared or summarised, what a pooled engine holds is what its histories' lengths
// say, to the byte.
void World::check_memory() {
  const bool shares = spec_.weights[static_cast<std::size_t>(Command::fork)] > 0;
  if (shares || spec_.far_history.enabled) return;
  const std::uint64_t token_bytes = spec_.model.shape.kv_bytes_per_token();
  for (const auto& instance : instances_) {
    const std::uint32_t block = instance->block_tokens();
    if (block == 0) continue;
    std::uint64_t live = 0;
    std::uint64_t allocated = 0;
    for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
      if (!slots_[slot]) continue;
      const History& history = *slots_[slot];
      const std::uint64_t tokens =
          std::max(history.known, history.truth.positions) + (instance->extended(slot) ? 1 : 0);
      live += tokens;
      allocated += round_up(tokens, block);
    }
    const MemoryUsage memory = instance->engine().usage().memory;
    if (memory.live_bytes != live * token_bytes ||
        memory.allocated_bytes != allocated * token_bytes) {
      fail_with(instance->label() + ": holds other memory than its histories' lengths say");
    }
  }
}

void World::step_instance(Instance& instance, std::span<const SlotIndex> plan, Draw& draw) {
  const bool armed = arm(instance, false, draw);
  instance.submit({.step = epoch_, .slots = plan});
  if (spec_.overlap && draw.one_in(2)) work_ahead(instance, plan, draw);
  const StepResult result = instance.collect(truths_);
  if (result.rows.size() != plan.size()) return fail_with(instance.label() + ": rows are missing");
  for (std::size_t i = 0; i < plan.size(); ++i) {
    take_row(instance, result.rows[i], plan[i], truths_[plan[i]].positions - 1);
  }
  disarm(instance, armed);
  ++totals_.steps;
}

// Some of the slots go on, as far as there is room.
void World::work_ahead(Instance& instance, std::span<const SlotIndex> plan, Draw& draw) {
  std::vector<SlotIndex> next;
  for (const SlotIndex slot : plan) {
    const History& history = *slots_[slot];
    if (history.truth.positions >= spec_.model.shape.max_len || draw.one_in(8)) continue;
    if (instance.extend(slot)) next.push_back(slot);
  }
  if (!next.empty()) instance.prepare({.step = epoch_ + 1, .slots = next});
}

void World::end_finished(std::span<const SlotIndex> plan) {
  for (const SlotIndex slot : plan) {
    if (slots_[slot]->truth.positions >= slots_[slot]->target) remove(slot, false);
  }
}

// Every engine must give the bits that the first one gave at this position of this request, also
// after it was preempted and computed again.
void World::take_row(Instance& instance, const RowResult& row, SlotIndex slot,
                     std::uint32_t position) {
  if (row.slot != slot) return fail_with(instance.label() + ": a row of another slot");
  History& history = *slots_[slot];
  const std::uint64_t digest =
      hash_bytes(std::as_bytes(row.output), hash_combine(row.output_digest, row.token)) | 1;
  std::uint64_t& known = history.digests[position];
  const bool first = known == 0;
  if (first) known = digest;
  if (known != digest) {
    return fail_with(fmt::format("{}: request {} has another output at position {}",
                                 instance.label(), history.id, position));
  }
  ++totals_.rows;
  hash_ = hash_combine(hash_, digest);
  const bool decoder = spec_.model.shape.kind == ModelKind::decoder;
  if (decoder && history.tokens.size() == position + 1) history.tokens.push_back(row.token);
  if (first && digest / 2 % spec_.oracle_one_in == 0) ask_oracle(history, row, position);
}

void World::ask_oracle(const History& history, const RowResult& row, std::uint32_t position) {
  ++totals_.oracle_rows;
  const Request request{.id = history.id,
                        .content_key = history.truth.content_key,
                        .prefix_key = history.truth.prefix_key,
                        .prefix_tokens = history.truth.prefix_tokens,
                        .prompt = {}};
  OutputSample sample{.request = history.id,
                      .history_tokens = position + 1,
                      .history = {},
                      .token = row.token,
                      .output = {row.output.begin(), row.output.end()}};
  if (spec_.model.shape.kind == ModelKind::decoder) {
    sample.history.assign(history.tokens.begin(), history.tokens.begin() + position + 1);
  }
  const OracleFinding finding = oracle_->check_last(request, sample);
  if (!finding.right) fail_with("oracle: " + finding.reason);
}

void World::read_back(Draw& draw, std::span<const SlotIndex> plan) {
  const bool now = draw.one_in(24) || watch_.thorough;
  if (spec_.model.shape.kind == ModelKind::decoder || !now) return;
  const SlotIndex chosen = plan[draw.between(0, static_cast<std::uint32_t>(plan.size()) - 1)];
  for (const SlotIndex slot : plan) {
    if (slot != chosen && !watch_.thorough) continue;
    ++totals_.read_backs;
    for (const auto& instance : instances_) {
      instance->read_back(slot, truths_[slot], spec_.model.shape);
    }
  }
}

void World::exhaust(Draw& draw) {
  if (!plans(Fault::exhaustion)) return;
  for (const auto& instance : instances_) exhaust_instance(*instance, draw);
}

// Requests that nobody asked for take all that is left; then a running one asks for room. What was
// refused has changed nothing, which Instance checks; where the pool has slots' room for more than
// its blocks, that is every time.
void World::exhaust_instance(Instance& instance, Draw& draw) {
  std::vector<SlotIndex> taken;
  bool refused = false;
  for (SlotIndex slot = 0; slot < slots_.size() && !refused; ++slot) {
    if (slots_[slot]) continue;
    std::uint32_t tokens = spec_.model.shape.max_len;
    const std::vector<TokenId> prompt(spec_.model.shape.kind == ModelKind::decoder ? tokens : 0, 0);
    bool in = false;
    while (!in && tokens > 0) {
      in = instance.admit({.slot = slot,
                           .request = ~std::uint64_t{0},
                           .content_key = 1,
                           .token_count = tokens,
                           .tokens = std::span(prompt).first(prompt.empty() ? 0 : tokens)});
      refused |= !in;
      if (!in) tokens /= 2;
    }
    if (in) taken.push_back(slot);
  }
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    if (!slots_[slot] || !slots_[slot]->decodes() || draw.one_in(2)) continue;
    if (slots_[slot]->truth.positions < spec_.model.shape.max_len)
      refused |= !instance.extend(slot);
  }
  for (const SlotIndex slot : taken) instance.release(slot);
  say(fmt::format("fill the pool of {}{}", instance.label(), refused ? "" : ": it is never full"));
  totals_.faults[static_cast<std::size_t>(Fault::exhaustion)] += refused ? 1 : 0;
}

}  // namespace kvrm::simulation
