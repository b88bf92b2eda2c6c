#include "property_tests/models/engine_calls.h"

#include <algorithm>
#include <array>

#include "harness/result/counters.h"

namespace kvrm::engine_model {
namespace {

constexpr std::array<const char*, 10> kKinds = {"admit",       "fork",       "prefill", "extend",
                                                "step",        "step ahead", "release", "preempt",
                                                "replace all", "decode"};

}  // namespace

std::ostream& operator<<(std::ostream& out, const Operation& operation) {
  return out << kKinds[static_cast<std::size_t>(operation.kind)] << " #" << operation.slot << ' '
             << operation.amount;
}

rc::Gen<Operation> operations() {
  const auto kind = rc::gen::weightedElement<Kind>({{12, Kind::admit},
                                                    {20, Kind::fork},
                                                    {16, Kind::prefill},
                                                    {24, Kind::extend},
                                                    {16, Kind::step},
                                                    {24, Kind::step_ahead},
                                                    {4, Kind::release},
                                                    {2, Kind::preempt},
                                                    {2, Kind::replace_all},
                                                    {6, Kind::decode}});
  return rc::gen::build<Operation>(rc::gen::set(&Operation::kind, kind),
                                   rc::gen::set(&Operation::slot, rc::gen::inRange(0U, 1000U)),
                                   rc::gen::set(&Operation::amount, rc::gen::inRange(0U, 1000U)));
}

EngineModel::EngineModel(Engine& engine, const Expected& expected, Coverage& coverage)
    : engine_(engine),
      expected_(expected),
      coverage_(coverage),
      max_len_(static_cast<std::uint32_t>(expected.front().size()) - 1),
      slots_(engine.info().slots) {}

void EngineModel::run(const Operation& operation) {
  const auto [kind, draw, amount] = operation;
  const SlotIndex index = draw % static_cast<SlotIndex>(slots_.size());
  std::optional<Slot>& slot = slots_[index];
  if (kind == Kind::step || kind == Kind::step_ahead) step(kind == Kind::step_ahead, amount);
  if (kind == Kind::admit && !slot) {
    admit(index, {.key = amount % kKeys, .known = 1 + amount % max_len_});
  }
  if (kind == Kind::fork && !slot) fork(index, amount);
  if (kind == Kind::prefill && slot && !slot->prefilled()) {
    prefill(index, 1 + amount % (slot->known - slot->length));
  }
  if (kind == Kind::extend && slot) extend(index, false);
  if (kind == Kind::release) release(index);
  if (kind == Kind::preempt && slot) preempt(index);
  if (kind == Kind::replace_all) replace_all(amount);
  if (kind == Kind::decode) decode(amount);
  const MemoryUsage memory = engine_.usage().memory;
  RC_ASSERT(memory.live_bytes <= memory.allocated_bytes);
  RC_ASSERT(memory.allocated_bytes <= memory.reserved_bytes);
}

void EngineModel::finish() {
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) release(slot);
  RC_ASSERT(engine_.usage().memory.allocated_bytes == 0U);
  RC_ASSERT(engine_.usage().memory.live_bytes == 0U);
  const EngineCounters counters = engine_.usage().counters;
  coverage_["copy on write"] += counters.copy_on_writes;
  coverage_["compacted block"] += counters.compacted_blocks;
  coverage_["full commit"] += counters.full_commits;
  coverage_["mapping"] += counters.map_calls;
  coverage_["far entry"] += counters.far_summaries;
  coverage_["far merge"] += counters.far_merges;
}

// Runs a call that may find no memory; then nothing but the count of failures is other.
bool EngineModel::all_or_nothing(const std::function<bool()>& call) {
  const EngineUsage before = engine_.usage();
  if (call()) return true;
  const EngineUsage after = engine_.usage();
  RC_ASSERT(before.memory.allocated_bytes == after.memory.allocated_bytes);
  RC_ASSERT(before.memory.live_bytes == after.memory.live_bytes);
  for (const CounterField& field : kCounterFields) {
    if (field.name == "allocation_failures") continue;
    RC_ASSERT((before.counters.*field.member) == (after.counters.*field.member));
  }
  return false;
}

bool EngineModel::admit(SlotIndex index, Slot slot) {
  slot.request = ++requests_;
  const bool fits = all_or_nothing([&] {
    return engine_.admit({.slot = index,
                          .request = slot.request,
                          .content_key = slot.key,
                          .token_count = slot.known});
  });
  ++coverage_[fits ? "admission" : "failed admission"];
  if (fits) slots_[index] = slot;
  return fits;
}

// Of any slot past its prefill, at any length up to its own.
void EngineModel::fork(SlotIndex index, std::uint32_t amount) {
  const SlotIndex parent = amount % static_cast<SlotIndex>(slots_.size());
  if (!engine_.info().can_fork || !slots_[parent] || !slots_[parent]->prefilled()) return;
  const std::uint32_t shared =
      amount % 3 == 0 ? 1 + amount % slots_[parent]->length : slots_[parent]->length;
  if (shared == max_len_) return;
  const bool fits = all_or_nothing([&] {
    return engine_.admit({.slot = index,
                          .request = ++requests_,
                          .content_key = slots_[parent]->key,
                          .token_count = shared + 1,
                          .fork_from = parent});
  });
  ++coverage_[fits ? "fork" : "failed fork"];
  if (fits)
    slots_[index] =
        Slot{.request = requests_, .key = slots_[parent]->key, .known = shared, .length = shared};
}

void EngineModel::prefill(SlotIndex index, std::uint32_t count) {
  Slot& slot = *slots_[index];
  const bool last = slot.length + count == slot.known;
  const StepResult result = engine_.prefill({index, slot.length, count, last});
  slot.length += count;
  RC_ASSERT(result.rows.size() == (last ? 1U : 0U));
  if (last) compare(result.rows[0], index);
}

bool EngineModel::extend(SlotIndex index, bool running) {
  Slot& slot = *slots_[index];
  if (!slot.prefilled() || slot.room || slot.length + (running ? 1 : 0) >= max_len_) return false;
  const bool fits = all_or_nothing([&] { return engine_.extend(index); });
  ++coverage_[fits ? "extension" : "failed extension"];
  slot.room = fits;
  return fits;
}

// Over every slot that has room; with `ahead` some of them are extended for the next one.
void EngineModel::step(bool ahead, std::uint32_t amount) {
  std::vector<SlotIndex> plan;
  std::uint32_t held = 0;
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot]) ++held;
    if (slots_[slot] && slots_[slot]->room) plan.push_back(slot);
  }
  if (plan.empty()) return;
  coverage_["step beside idle slots"] += held > plan.size() ? 1 : 0;
  engine_.submit({++steps_, plan});
  std::vector<SlotIndex> next;
  for (const SlotIndex slot : plan) {
    slots_[slot]->room = false;
    if (ahead && (amount >> slot) % 4 != 0 && extend(slot, true)) next.push_back(slot);
  }
  if (ahead) engine_.prepare({steps_ + 1, next});
  coverage_["extended ahead"] += next.size();
  const StepResult result = engine_.collect();
  note_rows();
  RC_ASSERT(result.rows.size() == plan.size());
  for (std::size_t i = 0; i < plan.size(); ++i) {
    ++slots_[plan[i]]->length;
    compare(result.rows[i], plan[i]);
  }
}

// A step of other rows than the one before replayed another bucket's graph.
void EngineModel::note_rows() {
  const std::uint64_t rows = engine_.usage().counters.rows - rows_;
  rows_ += rows;
  coverage_["bucket change"] += bucket_ != 0 && bucket_ != rows ? 1 : 0;
  bucket_ = rows;
}

void EngineModel::compare(const RowResult& row, SlotIndex index) {
  const Slot& slot = *slots_[index];
  RC_ASSERT(row.slot == index);
  RC_ASSERT(row.output_digest == expected_[slot.key][slot.length]);
  outputs_[slot.request].push_back(row.output_digest);
  coverage_["longest history"] += slot.length == max_len_ ? 1 : 0;
}

void EngineModel::release(SlotIndex index) {
  if (slots_[index]) {
    coverage_["aborted prefill"] += slots_[index]->prefilled() ? 0 : 1;
    coverage_["released with room"] += slots_[index]->room ? 1 : 0;
  }
  engine_.release(index);
  slots_[index].reset();
}

// Comes back with all positions that it had, which are computed again.
void EngineModel::preempt(SlotIndex index) {
  const Slot before = *slots_[index];
  release(index);
  if (!admit(index, {.key = before.key, .known = std::max(before.known, before.length)})) return;
  coverage_["preemption"] += before.prefilled() ? 1 : 0;
}

void EngineModel::replace_all(std::uint32_t amount) {
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) release(slot);
  for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
    const std::uint32_t known = max_len_ - 1 - (amount + slot) % 4;
    if (!admit(slot, {.key = (amount + slot) % kKeys, .known = known})) continue;
    prefill(slot, known);
    extend(slot, false);
  }
  step(false, amount);
}

void EngineModel::decode(std::uint32_t amount) {
  for (std::uint32_t i = 0; i <= amount % 8; ++i) {
    for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot]) extend(slot, false);
    }
    step(amount % 3 == 0, amount + i);
  }
}

}  // namespace kvrm::engine_model
