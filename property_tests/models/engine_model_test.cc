// Whole engines by random calls of their contract, in any order that it allows: chunked prefills
// that are aborted, forks of forks, slots that pause, steps with the next one prepared meanwhile,
// releases of what was extended ahead. Every row is what the request alone gives at that length,
// and a call that finds no memory changes nothing.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "engines/decoder/test_models.h"
#include "engines/kvrm/kvrm_engine.h"
#include "engines/paged/paged_engine.h"
#include "engines/static/static_engine.h"
#include "harness/result/counters.h"

namespace kvrm::engine_model {
namespace {

using testing_models::cpu;
using testing_models::take;
using testing_models::tiny_spec;

constexpr std::uint32_t kMaxLen = 72;
constexpr std::uint32_t kSlots = 4;
constexpr std::uint64_t kKeys = 3;  // contents; equal ones are what forks share

enum class Kind : std::uint8_t { admit, fork, prefill, extend, step, step_ahead, release };
constexpr const char* kKinds[] = {"admit", "fork",       "prefill", "extend",
                                  "step",  "step ahead", "release"};

struct Operation {
  Kind kind = Kind::step;
  std::uint32_t slot = 0;
  std::uint32_t amount = 0;
};
std::ostream& operator<<(std::ostream& out, const Operation& operation) {
  return out << kKinds[static_cast<std::size_t>(operation.kind)] << " #" << operation.slot << ' '
             << operation.amount;
}

rc::Gen<Operation> operations() {
  const auto kind = rc::gen::weightedElement<Kind>({{3, Kind::admit},
                                                    {2, Kind::fork},
                                                    {4, Kind::prefill},
                                                    {6, Kind::extend},
                                                    {4, Kind::step},
                                                    {6, Kind::step_ahead},
                                                    {1, Kind::release}});
  return rc::gen::build<Operation>(rc::gen::set(&Operation::kind, kind),
                                   rc::gen::set(&Operation::slot, rc::gen::inRange(0U, kSlots)),
                                   rc::gen::set(&Operation::amount, rc::gen::inRange(0U, 1000U)));
}

using Coverage = std::map<std::string, std::uint64_t>;

// [key][length]: what attention gives there, from a request that had an engine to itself.
using Expected = std::vector<std::vector<std::uint64_t>>;

struct Slot {
  std::uint64_t key = 0;
  std::uint32_t known = 0;   // positions to prefill
  std::uint32_t length = 0;  // computed
  bool room = false;         // for one more
  bool prefilled() const { return length >= known; }
};

class EngineModel {
 public:
  EngineModel(Engine& engine, const Expected& expected, Coverage& coverage)
      : engine_(engine), expected_(expected), coverage_(coverage), slots_(engine.info().slots) {}

  void run(const Operation& operation) {
    const auto [kind, draw, amount] = operation;
    const SlotIndex index = draw % static_cast<SlotIndex>(slots_.size());
    std::optional<Slot>& slot = slots_[index];
    if (kind == Kind::step || kind == Kind::step_ahead) step(kind == Kind::step_ahead, amount);
    if (kind == Kind::admit && !slot) admit(index, amount);
    if (kind == Kind::fork && !slot) fork(index, amount);
    if (kind == Kind::prefill && slot && !slot->prefilled()) prefill(index, amount);
    if (kind == Kind::extend && slot) extend(index, false);
    if (kind == Kind::release) release(index);
    const MemoryUsage memory = engine_.usage().memory;
    RC_ASSERT(memory.live_bytes <= memory.allocated_bytes);
    RC_ASSERT(memory.allocated_bytes <= memory.reserved_bytes);
  }

  void finish() {
    for (SlotIndex slot = 0; slot < slots_.size(); ++slot) release(slot);
    RC_ASSERT(engine_.usage().memory.allocated_bytes == 0U);
    RC_ASSERT(engine_.usage().memory.live_bytes == 0U);
    coverage_["copy on write"] += engine_.usage().counters.copy_on_writes;
    coverage_["compacted block"] += engine_.usage().counters.compacted_blocks;
  }

 private:
  // Runs a call that may find no memory; then nothing but the count of failures is other.
  bool all_or_nothing(const std::function<bool()>& call) {
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

  void admit(SlotIndex index, std::uint32_t amount) {
    const Slot slot{.key = amount % kKeys, .known = 1 + amount % kMaxLen};
    const bool fits = all_or_nothing([&] {
      return engine_.admit({.slot = index, .content_key = slot.key, .token_count = slot.known});
    });
    ++coverage_[fits ? "admission" : "failed admission"];
    if (fits) slots_[index] = slot;
  }

  // Of any slot past its prefill, at any length up to its own.
  void fork(SlotIndex index, std::uint32_t amount) {
    const SlotIndex parent = amount % static_cast<SlotIndex>(slots_.size());
    if (!engine_.info().can_fork || !slots_[parent] || !slots_[parent]->prefilled()) return;
    const std::uint32_t shared =
        amount % 3 == 0 ? 1 + amount % slots_[parent]->length : slots_[parent]->length;
    if (shared == kMaxLen) return;
    const bool fits = all_or_nothing([&] {
      return engine_.admit({.slot = index,
                            .content_key = slots_[parent]->key,
                            .token_count = shared + 1,
                            .fork_from = parent});
    });
    ++coverage_[fits ? "fork" : "failed fork"];
    if (fits) slots_[index] = Slot{.key = slots_[parent]->key, .known = shared, .length = shared};
  }

  void prefill(SlotIndex index, std::uint32_t amount) {
    Slot& slot = *slots_[index];
    const std::uint32_t count = 1 + amount % (slot.known - slot.length);
    const bool last = slot.length + count == slot.known;
    const StepResult result = engine_.prefill({index, slot.length, count, last});
    slot.length += count;
    RC_ASSERT(result.rows.size() == (last ? 1U : 0U));
    if (last) compare(result.rows[0], index);
  }

  bool extend(SlotIndex index, bool running) {
    Slot& slot = *slots_[index];
    if (!slot.prefilled() || slot.room || slot.length + (running ? 1 : 0) >= kMaxLen) return false;
    const bool fits = all_or_nothing([&] { return engine_.extend(index); });
    ++coverage_[fits ? "extension" : "failed extension"];
    slot.room = fits;
    return fits;
  }

  // Over every slot that has room; with `ahead` some of them are extended for the next one.
  void step(bool ahead, std::uint32_t amount) {
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
    RC_ASSERT(result.rows.size() == plan.size());
    for (std::size_t i = 0; i < plan.size(); ++i) {
      ++slots_[plan[i]]->length;
      compare(result.rows[i], plan[i]);
    }
  }

  void compare(const RowResult& row, SlotIndex index) {
    const Slot& slot = *slots_[index];
    RC_ASSERT(row.slot == index);
    RC_ASSERT(row.output_digest == expected_[slot.key][slot.length]);
    coverage_["longest history"] += slot.length == kMaxLen ? 1 : 0;
  }

  void release(SlotIndex index) {
    if (slots_[index]) {
      coverage_["aborted prefill"] += slots_[index]->prefilled() ? 0 : 1;
      coverage_["released with room"] += slots_[index]->room ? 1 : 0;
    }
    engine_.release(index);
    slots_[index].reset();
  }

  Engine& engine_;
  const Expected& expected_;
  Coverage& coverage_;
  std::vector<std::optional<Slot>> slots_;
  Epoch steps_ = 0;
};

struct Setup {
  const char* name;
  Transport transport;
  std::function<Result<std::unique_ptr<Engine>>(const EngineSpec&, const DecoderModel&,
                                                const KernelSet&, Device&)>
      make;
  bool pooled = true;
};

class EngineModelTest : public ::testing::TestWithParam<Setup> {
 protected:
  static ModelSpec model_spec() {
    ModelSpec spec = tiny_spec(ModelKind::attention_only, DType::bf16);
    spec.shape.max_len = kMaxLen;
    return spec;
  }
  // One and a half of the longest histories for four slots; the view of `delta` on top, which takes
  // as much as the pool, so that `delta` has fewer slots and memory for all of them.
  EngineSpec spec() const {
    const std::uint64_t token_bytes = model_->shape().kv_bytes_per_token();
    EngineSpec result{.kind = "any", .label = GetParam().name, .options = {}, .budget = {}};
    result.options.block_tokens = 8;
    result.options.transport = GetParam().transport;
    const std::uint64_t tokens = GetParam().pooled ? 112 : kSlots * 80;
    result.budget = {.kv_bytes = tokens * token_bytes,
                     .max_batch = kSlots,
                     .max_len = kMaxLen,
                     .prefill_tokens = kMaxLen};
    const std::uint64_t view = kSlots * 80 * token_bytes;
    if (GetParam().transport == Transport::full) {
      result.budget.kv_bytes += view / model_->shape().layers;
    }
    if (GetParam().transport == Transport::delta) result.budget.kv_bytes += view;
    return result;
  }
  // The only one that compacts.
  static bool is_kvrm() { return std::string(GetParam().name).starts_with("kvrm"); }
  Expected alone() {
    EngineSpec one = spec();
    one.budget.max_batch = 1;
    const auto device = cpu(1);
    Expected expected;
    for (std::uint64_t key = 0; key < kKeys; ++key) {
      const auto engine = take(make_paged_engine(one, *model_, kernels_, *device));
      std::vector<std::uint64_t>& digests = expected.emplace_back(1);
      EXPECT_TRUE(engine->admit({.slot = 0, .content_key = key, .token_count = 1}));
      digests.push_back(engine->prefill({0, 0, 1, true}).rows[0].output_digest);
      const std::vector<SlotIndex> slots = {0};
      for (Epoch step = 1; step < kMaxLen; ++step) {
        EXPECT_TRUE(engine->extend(0));
        engine->submit({step, slots});
        digests.push_back(engine->collect().rows[0].output_digest);
      }
    }
    return expected;
  }

  std::unique_ptr<DecoderModel> model_ = take(DecoderModel::load(model_spec()));
  KernelSet kernels_ = take(select_kernels("auto"));
};

TEST_P(EngineModelTest, EveryRowIsThatOfTheRequestAlone) {
  const Expected expected = alone();
  const auto device = cpu(1);
  Coverage coverage;
  const bool holds = rc::check([&] {
    EngineSpec with = spec();
    with.options.placement =
        *rc::gen::element(Placement::lifo, Placement::address_ordered, Placement::extent);
    if (is_kvrm() && *rc::gen::arbitrary<bool>()) {
      with.options.compaction_bytes_per_step = 2 * 8 * model_->shape().kv_bytes_per_token();
    }
    const auto engine = take(GetParam().make(with, *model_, kernels_, *device));
    EngineModel model(*engine, expected, coverage);
    const auto calls =
        *rc::gen::resize(400, rc::gen::container<std::vector<Operation>>(operations()));
    for (const Operation& call : calls) model.run(call);
    model.finish();
  });
  EXPECT_TRUE(holds);
  std::vector<std::string> cases = {"admission",       "extension",      "step beside idle slots",
                                    "aborted prefill", "extended ahead", "released with room",
                                    "longest history"};
  if (GetParam().pooled) cases.insert(cases.end(), {"fork", "copy on write"});
  if (GetParam().pooled && GetParam().transport != Transport::delta) {
    cases.insert(cases.end(), {"failed admission", "failed extension", "failed fork"});
  }
  if (is_kvrm()) cases.emplace_back("compacted block");
  for (const std::string& name : cases) EXPECT_GT(coverage[name], 0U) << name;
}

// What the property found: a fork pauses while its parent, which had room for its next position
// already, is extended ahead and gets a copy of the block that both hold. The parent's row went on
// in the old block.
TEST_P(EngineModelTest, AParentExtendedAheadLeavesTheBlockThatAPausingForkHolds) {
  if (!GetParam().pooled) return;
  const Expected expected = alone();
  const auto device = cpu(1);
  const auto engine = take(GetParam().make(spec(), *model_, kernels_, *device));
  Coverage coverage;
  EngineModel model(*engine, expected, coverage);
  for (const Operation& call : {Operation{Kind::admit, 0, 0},
                                {Kind::prefill, 0, 0},
                                {Kind::extend, 0, 0},
                                {Kind::fork, 1, 0},
                                {Kind::step_ahead, 0, 1},
                                {Kind::step, 0, 0}}) {
    SCOPED_TRACE(testing::PrintToString(call));
    ASSERT_NO_THROW(model.run(call));
  }
  EXPECT_EQ(coverage["extended ahead"], 1U);
  EXPECT_EQ(engine->usage().counters.copy_on_writes, 1U);
}

INSTANTIATE_TEST_SUITE_P(
    Engines, EngineModelTest,
    ::testing::Values(Setup{"kvrm_fused", Transport::fused, make_kvrm_engine},
                      Setup{"kvrm_full", Transport::full, make_kvrm_engine},
                      Setup{"kvrm_delta", Transport::delta, make_kvrm_engine},
                      Setup{"paged", Transport::fused, make_paged_engine},
                      Setup{"paged_graph", Transport::fused, make_paged_graph_engine},
                      Setup{"static", Transport::fused, make_static_engine, false}),
    [](const auto& value) { return std::string(value.param.name); });

}  // namespace
}  // namespace kvrm::engine_model
