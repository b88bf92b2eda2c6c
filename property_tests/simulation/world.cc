#include "property_tests/simulation/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "harness/base/hash.h"
#include "harness/contract/content.h"

namespace kvrm::simulation {

void WorldTotals::add(const WorldTotals& other) {
  steps += other.steps;
  rows += other.rows;
  for (std::size_t i = 0; i < kFaults; ++i) faults[i] += other.faults[i];
  admissions += other.admissions;
  preemptions += other.preemptions;
  forks += other.forks;
  recomputed += other.recomputed;
  oracle_rows += other.oracle_rows;
  read_backs += other.read_backs;
  copy_on_writes += other.copy_on_writes;
  compacted_blocks += other.compacted_blocks;
  full_commits += other.full_commits;
  far_merges += other.far_merges;
}

World::World(const WorldPart& part, const Registry& registry, WorldWatch watch)
    : part_(part), spec_(draw_world(part)), registry_(registry), watch_(watch) {
  if (watch.thorough) spec_.oracle_one_in = 1;
}

void World::fail_with(const std::string& what) {
  if (violation_.empty()) violation_ = what;
}

void World::say(const std::string& what) const {
  if (watch_.trace) fmt::print(stderr, "  command {}: {}\n", command_, what);
}

bool World::plans(Fault fault) const {
  return std::ranges::find(spec_.faults, fault) != spec_.faults.end();
}

void World::run() {
  if (!make()) return;
  for (; command_ < spec_.commands && violation_.empty(); ++command_) {
    if (part_.skips(command_)) continue;
    Draw draw(mix64(spec_.seed) ^ command_, "command");
    run_command(draw);
    for (const auto& instance : instances_) fail_with(instance->violation());
    if (!violation_.empty()) return;
  }
  settle();
}

// An engine that does not take its options is left out; the other ones go on.
bool World::make() {
  Draw draw(spec_.seed, "faults of making");
  Result<KernelSet> kernels = select_kernels(spec_.kernels);
  Result<std::unique_ptr<Model>> model = registry_.load_model(spec_.model);
  if (!kernels || !model) {
    fail_with(!kernels ? kernels.error().message : model.error().message);
    return false;
  }
  kernels_ = *kernels;
  model_ = std::move(*model);
  const bool decoder = spec_.model.shape.kind == ModelKind::decoder;
  const bool forks = spec_.weights[static_cast<std::size_t>(Command::fork)] > 0;
  for (const EngineSpec& spec : spec_.engines) {
    const bool fails = draw.one_in(2) && plans(Fault::allocation);
    const std::uint64_t call = draw.between(1, 12);
    auto instance =
        Instance::make(spec, {&registry_, model_.get(), &kernels_, part_.canary}, fails ? call : 0);
    if (!instance) continue;
    // Its prefill would sample where the others take a forked request's own token.
    if (decoder && forks && !(*instance)->can_fork()) continue;
    totals_.faults[0] += (*instance)->allocation_failed() ? 1 : 0;
    spec_.slots = std::min(spec_.slots, (*instance)->engine().info().slots);
    instances_.push_back(std::move(*instance));
  }
  oracle_ = std::make_unique<OracleChecker>(
      registry_.make_oracle(*model_, instances_.empty()
                                         ? FarHistoryRule()
                                         : instances_.front()->engine().info().far_history),
      spec_.model.shape, spec_.far_history);
  slots_.resize(spec_.slots);
  truths_.resize(spec_.slots);
  return !instances_.empty();
}

Command World::draw_command(Draw& draw) const {
  std::uint32_t total = 0;
  for (const std::uint32_t weight : spec_.weights) total += weight;
  std::uint32_t left = draw.between(0, total - 1);
  std::size_t command = 0;
  while (left >= spec_.weights[command]) left -= spec_.weights[command++];
  return static_cast<Command>(command);
}

void World::run_command(Draw& draw) {
  const Command command = draw_command(draw);
  switch (command) {
    case Command::admit:
      return admit(draw);
    case Command::prefill:
      return prefill(draw);
    case Command::step:
      return step(draw);
    case Command::leave:
      return leave(draw);
    case Command::fork:
      return fork(draw);
    case Command::exhaust:
      return exhaust(draw);
    case Command::replace:
      return replace(draw);
  }
}

std::optional<SlotIndex> World::any_slot(Draw& draw, bool used) const {
  std::vector<SlotIndex> fitting;
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].has_value() == used) fitting.push_back(slot);
  }
  if (fitting.empty()) return std::nullopt;
  return draw.one_of(fitting);
}

std::optional<SlotIndex> World::youngest_but(SlotIndex but) const {
  std::optional<SlotIndex> youngest;
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    if (slot == but || !slots_[slot]) continue;
    if (!youngest || slots_[slot]->order > slots_[*youngest]->order) youngest = slot;
  }
  return youngest;
}

World::History World::new_history(Draw& draw) {
  const ModelShape& shape = spec_.model.shape;
  History history;
  history.id = requests_++;
  history.truth.content_key = draw.number();
  history.known = draw.between(1, std::max(spec_.prompt_max, 1U));
  // Now and then a prompt ends on the border of a chunk, tile or block.
  const std::uint32_t border = shape.tile_tokens * draw.between(1, 4) + draw.between(0, 2) - 1;
  if (draw.one_in(4) && border <= shape.max_len) history.known = border;
  history.target = draw.between(history.known, shape.max_len);
  history.digests.resize(shape.max_len);
  if (shape.kind == ModelKind::decoder) {
    for (std::uint32_t i = 0; i < history.known; ++i) {
      history.tokens.push_back(content_token(history.truth.content_key, i, shape.vocabulary));
    }
  }
  return history;
}

bool World::admit_everywhere(SlotIndex slot, const History& history) {
  const Admission admission{.slot = slot,
                            .request = history.id,
                            .content_key = history.truth.content_key,
                            .token_count = history.known,
                            .tokens = history.tokens,
                            .prefix_key = history.truth.prefix_key,
                            .prefix_tokens = history.truth.prefix_tokens};
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    if (instances_[i]->admit(admission)) continue;
    for (std::size_t j = 0; j < i; ++j) instances_[j]->release(slot);
    return false;
  }
  return true;
}

// A preempted request before a new one, mostly.
void World::admit(Draw& draw) {
  const auto slot = any_slot(draw, false);
  if (!slot) return;
  const bool again = !parked_.empty() && !draw.one_in(4);
  History history = again ? parked_.front() : new_history(draw);
  if (!admit_everywhere(*slot, history)) return say("admit: refused");
  say(fmt::format("admit request {} to slot {}, {} positions{}", history.id, *slot, history.known,
                  again ? ", again" : ""));
  if (again) parked_.erase(parked_.begin());
  totals_.admissions += 1;
  totals_.recomputed += again ? 1 : 0;
  place(*slot, std::move(history));
}

void World::place(SlotIndex slot, History history) {
  history.truth.positions = 0;
  history.order = ++admissions_;
  slots_[slot] = std::move(history);
}

void World::prefill(Draw& draw) {
  std::vector<SlotIndex> waiting;
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot] && !slots_[slot]->decodes()) waiting.push_back(slot);
  }
  if (waiting.empty()) return;
  const SlotIndex slot = draw.one_of(waiting);
  const History& history = *slots_[slot];
  const std::uint32_t left = history.known - history.truth.positions;
  const std::uint32_t most = std::min(left, spec_.prefill_tokens);
  prefill_slot(slot, draw.one_in(2) ? most : draw.between(1, most), draw);
}

void World::prefill_slot(SlotIndex slot, std::uint32_t count, Draw& draw) {
  History& history = *slots_[slot];
  const std::uint32_t left = history.known - history.truth.positions;
  const PrefillChunk chunk{
      .slot = slot, .first = history.truth.positions, .count = count, .last = count == left};
  say(fmt::format("prefill slot {}, {} positions from {}", slot, count, chunk.first));
  for (const auto& instance : instances_) {
    const bool armed = arm(*instance, true, draw);
    const StepResult result = instance->engine().prefill(chunk);
    if (chunk.last && result.rows.size() != 1)
      fail_with(instance->label() + ": prefill gave no row");
    if (chunk.last && !result.rows.empty()) {
      take_row(*instance, result.rows[0], slot, history.known - 1);
    }
    disarm(*instance, armed);
  }
  history.truth.positions += count;
  if (history.decodes() && history.truth.positions >= history.target) remove(slot, false);
}

// All histories by new ones, twice: the second time all of the old blocks leave the tables in the
// step in which the new ones come.
void World::replace(Draw& draw) {
  say("replace all, twice");
  for (int round = 0; round < 2 && violation_.empty(); ++round) {
    for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot]) remove(slot, false);
    }
    for (SlotIndex slot = 0; slot < slots_.size(); ++slot) place_longest(slot, draw);
    step(draw);
  }
}

// Two positions short of the longest history, so that it outlives its first step.
void World::place_longest(SlotIndex slot, Draw& draw) {
  History history = new_history(draw);
  history.target = spec_.model.shape.max_len;
  history.known = history.target - 2;
  if (!admit_everywhere(slot, history)) return;
  totals_.admissions += 1;
  place(slot, std::move(history));
  const History& placed = *slots_[slot];
  while (!placed.decodes()) {
    prefill_slot(slot, std::min(placed.known - placed.truth.positions, spec_.prefill_tokens), draw);
  }
}

// The parent's first positions as a request of its own. Content has one shared prefix, so it must
// not reach beyond the parent's own.
std::optional<World::History> World::fork_of(const History& parent, Draw& draw) {
  const ModelShape& shape = spec_.model.shape;
  std::uint32_t most = std::min(parent.truth.positions, shape.max_len - 1);
  if (parent.truth.prefix_tokens > 0) most = std::min(most, parent.truth.prefix_tokens);
  if (most == 0) return std::nullopt;
  const std::uint32_t shared = draw.one_in(2) ? most : draw.between(1, most);
  History child;
  child.id = requests_++;
  child.truth.content_key = draw.number();
  const bool inherits = parent.truth.prefix_tokens > 0;
  child.truth.prefix_key = inherits ? parent.truth.prefix_key : parent.truth.content_key;
  child.truth.prefix_tokens = shared;
  child.truth.positions = child.known = shared;
  child.target = draw.between(shared + 1, shape.max_len);
  child.digests.resize(shape.max_len);
  if (shape.kind == ModelKind::decoder) {
    child.truth.prefix_tokens = 0;
    child.truth.prefix_key = 0;
    child.tokens.assign(parent.tokens.begin(), parent.tokens.begin() + shared);
    child.tokens.push_back(content_token(child.truth.content_key, 0, shape.vocabulary));
  }
  return child;
}

void World::fork(Draw& draw) {
  const auto slot = any_slot(draw, false);
  const auto from = any_slot(draw, true);
  if (!slot || !from || !slots_[*from]->decodes()) return;
  std::optional<History> child = fork_of(*slots_[*from], draw);
  if (!child) return;
  const std::uint32_t shared = child->known;
  Admission admission{.slot = *slot,
                      .request = child->id,
                      .content_key = child->truth.content_key,
                      .token_count = shared + 1,
                      .tokens = child->tokens,
                      .prefix_key = child->truth.prefix_key,
                      .prefix_tokens = child->truth.prefix_tokens,
                      .fork_from = *from};
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    Instance& instance = *instances_[i];
    Admission asked = admission;
    if (!instance.can_fork()) {
      asked.fork_from.reset();
      asked.token_count = shared;
    }
    if (!instance.admit(asked)) {
      for (std::size_t j = 0; j < i; ++j) instances_[j]->release(*slot);
      return say("fork: refused");
    }
  }
  for (const auto& instance : instances_) {
    if (instance->can_fork()) continue;
    for (std::uint32_t first = 0; first < shared; first += spec_.prefill_tokens) {
      const std::uint32_t count = std::min(spec_.prefill_tokens, shared - first);
      instance->engine().prefill(
          {.slot = *slot, .first = first, .count = count, .last = first + count == shared});
    }
  }
  say(fmt::format("fork slot {} to slot {} at {} positions", *from, *slot, shared));
  ++totals_.forks;
  child->order = ++admissions_;
  slots_[*slot] = std::move(*child);
}

// Gone from every engine; what is kept comes back later, with what it has sampled as its prompt.
void World::remove(SlotIndex slot, bool keep) {
  for (const auto& instance : instances_) instance->release(slot);
  if (keep) {
    History& history = *slots_[slot];
    history.known =
        std::max(history.known, std::min(history.truth.positions + 1, spec_.model.shape.max_len));
    // A forked request comes back as one with a longer prompt.
    parked_.push_back(std::move(history));
  }
  slots_[slot].reset();
}

void World::leave(Draw& draw) {
  const auto slot = any_slot(draw, true);
  if (!slot || !plans(Fault::aborted)) return;
  const bool keep = draw.one_in(2) && parked_.size() < 4;
  say(fmt::format("{} slot {}", keep ? "preempt" : "abort", *slot));
  ++totals_.faults[static_cast<std::size_t>(Fault::aborted)];
  remove(*slot, keep);
}

void World::settle() {
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot]) remove(slot, false);
  }
  for (const auto& instance : instances_) {
    instance->check_nothing_left();
    fail_with(instance->violation());
    hash_ = instance->fold(hash_);
    const EngineCounters counters = instance->engine().usage().counters;
    totals_.copy_on_writes += counters.copy_on_writes;
    totals_.compacted_blocks += counters.compacted_blocks;
    totals_.full_commits += counters.full_commits;
    totals_.far_merges += counters.far_merges;
  }
  hash_ = hash_combine(hash_, requests_);
}

}  // namespace kvrm::simulation
