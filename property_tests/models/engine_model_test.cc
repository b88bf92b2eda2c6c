// Whole engines by random calls of their contract, in any order that it allows: chunked prefills
// that are aborted, forks of forks, slots that pause, steps with the next one prepared meanwhile,
// releases of what was extended ahead, whole batches replaced at once. Every row is what the
// request alone gives at that length, far history included, and a call that finds no memory changes
// nothing.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engines/decoder/test_models.h"
#include "engines/history/far_history.h"
#include "engines/kvrm/kvrm_engine.h"
#include "engines/kvrm/replay_log.h"
#include "engines/paged/paged_engine.h"
#include "engines/static/static_engine.h"
#include "harness/base/units.h"
#include "property_tests/models/engine_calls.h"

namespace kvrm::engine_model {
namespace {

using testing_models::cpu;
using testing_models::take;
using testing_models::tiny_spec;

using Make = Result<std::unique_ptr<Engine>> (*)(const EngineSpec&, const DecoderModel&,
                                                 const KernelSet&, Device&);

// `crowd`: so many slots of so few blocks, each a group of its own, that replacing them all takes
// more edits than an image is worth. `far`: a far history, short enough that entries merge.
struct EngineSetup {
  const char* name;
  Make make;
  Transport transport = Transport::fused;
  bool crowd = false;
  bool far = false;

  bool is_kvrm() const { return make == make_kvrm_engine; }
  bool pooled() const { return make != make_static_engine; }
  bool forks() const { return pooled() && !far; }
  // Room for one and a half of the longest histories, not for all. The view of `delta` takes as
  // much as the pool, so that it has memory for all its slots.
  bool scarce() const { return pooled() && !crowd && transport != Transport::delta; }
  std::uint32_t slots() const { return crowd ? 16 : 4; }
  // In `delta`, where each block is a group of its own, four of the longest histories have more to
  // stage than a record holds.
  std::uint32_t max_len() const {
    if (crowd) return 24;
    if (transport == Transport::delta) return 200;
    return far && transport == Transport::remap ? 150 : 72;
  }
  // Whole pages, for `remap`: 256 bytes a position and layer.
  std::uint32_t block_tokens() const { return transport == Transport::remap ? 16 : 8; }
};

std::ostream& operator<<(std::ostream& out, const EngineSetup& setup) { return out << setup.name; }

class EngineModelTest : public ::testing::TestWithParam<EngineSetup> {
 protected:
  static ModelSpec model_spec() {
    const bool pages = GetParam().transport == Transport::remap;
    ModelSpec spec = tiny_spec(ModelKind::attention_only, pages ? DType::f32 : DType::bf16);
    if (pages) spec.shape.head_dim = 16;
    if (GetParam().crowd) spec.shape.split_tiles = 1;
    spec.shape.max_len = GetParam().max_len();
    return spec;
  }
  EngineSpec spec() const {
    const EngineSetup& setup = GetParam();
    const std::uint64_t token_bytes = model_->shape().kv_bytes_per_token();
    EngineSpec result{.kind = "any", .label = setup.name, .options = {}, .budget = {}};
    result.options.block_tokens = setup.block_tokens();
    result.options.transport = setup.transport;
    if (setup.crowd || setup.transport == Transport::delta) result.options.max_group_bytes = 1;
    result.options.far_history = {.enabled = setup.far,
                                  .block_tokens = setup.block_tokens(),
                                  .window_tokens = setup.block_tokens() + 5,
                                  .sink_tokens = setup.block_tokens(),
                                  .summaries = 3};
    const std::uint64_t longest =
        round_up(round_up(setup.max_len(), setup.block_tokens()), model_->shape().tile_tokens);
    const std::uint64_t view = setup.slots() * longest * token_bytes;
    result.budget = {
        .kv_bytes = setup.scarce() ? scarce_tokens(result, longest) * token_bytes : view,
        .max_batch = setup.slots(),
        .max_len = setup.max_len(),
        .prefill_tokens = setup.max_len()};
    if (setup.transport == Transport::full) {
      const std::uint64_t one_layer = view / model_->shape().layers;
      result.budget.kv_bytes = std::max(result.budget.kv_bytes + one_layer, 2 * one_layer);
    }
    if (setup.transport == Transport::delta) result.budget.kv_bytes += view;
    return result;
  }
  // Of the longest history one and some.
  static std::uint64_t scarce_tokens(const EngineSpec& spec, std::uint64_t longest) {
    const FarHistoryRule& rule = spec.options.far_history;
    if (!rule.enabled) return longest * 7 / 5;
    const std::uint64_t blocks = far_blocks_needed(rule, GetParam().max_len(), 0).total();
    return blocks * 6 / 5 * rule.block_tokens;
  }
  Expected alone() {
    EngineSpec one = spec();
    one.options.transport = Transport::fused;
    one.options.max_group_bytes = 0;
    one.budget.max_batch = 1;
    const Make make = GetParam().far ? make_kvrm_engine : make_paged_engine;
    const auto device = cpu(1);
    Expected expected;
    for (std::uint64_t key = 0; key < kKeys; ++key) {
      const auto engine = take(make(one, *model_, kernels_, *device));
      std::vector<std::uint64_t>& digests = expected.emplace_back(1);
      EXPECT_TRUE(engine->admit({.slot = 0, .content_key = key, .token_count = 1}));
      digests.push_back(engine->prefill({0, 0, 1, true}).rows[0].output_digest);
      const std::vector<SlotIndex> slots = {0};
      for (Epoch step = 1; step < GetParam().max_len(); ++step) {
        EXPECT_TRUE(engine->extend(0));
        engine->submit({step, slots});
        digests.push_back(engine->collect().rows[0].output_digest);
      }
    }
    return expected;
  }
  // What must have been met.
  static std::vector<std::string> rare_states() {
    const EngineSetup& setup = GetParam();
    std::vector<std::string> states = {
        "admission",      "extension",          "step beside idle slots", "aborted prefill",
        "extended ahead", "released with room", "longest history",        "preemption"};
    const auto also = [&](bool when, const std::vector<std::string>& more) {
      if (when) states.insert(states.end(), more.begin(), more.end());
    };
    also(setup.forks(), {"fork", "copy on write"});
    also(setup.scarce(), {"failed admission", "failed extension"});
    also(setup.scarce() && setup.forks(), {"failed fork"});
    also(setup.make == make_paged_graph_engine, {"bucket change"});
    also(setup.is_kvrm(), {"compacted block"});
    const bool stages_all = setup.transport == Transport::delta && !setup.far;
    also(setup.crowd || stages_all, {"full commit"});
    also(setup.transport == Transport::remap, {"mapping"});
    also(setup.far, {"far entry", "far merge"});
    return states;
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
    if (GetParam().is_kvrm() && *rc::gen::arbitrary<bool>()) {
      with.options.compaction_bytes_per_step =
          2 * GetParam().block_tokens() * model_->shape().kv_bytes_per_token();
    }
    const auto engine = take(GetParam().make(with, *model_, kernels_, *device));
    EngineModel model(*engine, expected, coverage);
    const auto calls =
        *rc::gen::resize(400, rc::gen::container<std::vector<Operation>>(operations()));
    for (const Operation& call : calls) model.run(call);
    model.finish();
  });
  EXPECT_TRUE(holds);
  for (const std::string& name : rare_states()) EXPECT_GT(coverage[name], 0U) << name;
}

// What a log holds of such calls makes an equal engine give the same rows; it plans nothing, so
// that everything that a step does must be in its record, and nothing may be left from the plan
// that the record replaces.
TEST_P(EngineModelTest, ALogOfItReplaysToTheSameRows) {
  if (!GetParam().is_kvrm()) return;
  const Expected expected = alone();
  const auto device = cpu(1);
  const std::string log =
      ::testing::TempDir() + "kvrm_" + GetParam().name + std::to_string(getpid());
  Coverage coverage;
  const bool holds = rc::check([&] {
    EngineSpec with = spec();
    with.options.compaction_bytes_per_step =
        2 * GetParam().block_tokens() * model_->shape().kv_bytes_per_token();
    with.descriptor_log.file = log;
    auto engine = take(GetParam().make(with, *model_, kernels_, *device));
    EngineModel model(*engine, expected, coverage);
    const auto calls =
        *rc::gen::resize(200, rc::gen::container<std::vector<Operation>>(operations()));
    for (const Operation& call : calls) model.run(call);
    model.finish();
    engine.reset();
    with.descriptor_log = {};
    const auto replayed = replay_descriptor_log(log, with, *model_, kernels_, *device);
    if (!replayed) RC_FAIL(replayed.error().message);
    RC_ASSERT(replayed->outputs == model.outputs());
  });
  std::filesystem::remove(log);
  EXPECT_TRUE(holds);
  const char* copies = GetParam().forks() ? "copy on write" : "compacted block";
  for (const char* name : {"preemption", "extended ahead", copies}) {
    EXPECT_GT(coverage[name], 0U) << name;
  }
}

// What the property found: a fork pauses while its parent, which had room for its next position
// already, is extended ahead and gets a copy of the block that both hold. The parent's row went on
// in the old block.
TEST_P(EngineModelTest, AParentExtendedAheadLeavesTheBlockThatAPausingForkHolds) {
  if (!GetParam().forks()) return;
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

const EngineSetup kSetups[] = {
    {.name = "kvrm_fused", .make = make_kvrm_engine},
    {.name = "kvrm_full", .make = make_kvrm_engine, .transport = Transport::full},
    {.name = "kvrm_delta", .make = make_kvrm_engine, .transport = Transport::delta},
    {.name = "kvrm_remap", .make = make_kvrm_engine, .transport = Transport::remap},
    {.name = "kvrm_fused_crowd", .make = make_kvrm_engine, .crowd = true},
    {.name = "kvrm_full_crowd",
     .make = make_kvrm_engine,
     .transport = Transport::full,
     .crowd = true},
    {.name = "kvrm_fused_far", .make = make_kvrm_engine, .far = true},
    {.name = "kvrm_full_far", .make = make_kvrm_engine, .transport = Transport::full, .far = true},
    {.name = "kvrm_delta_far",
     .make = make_kvrm_engine,
     .transport = Transport::delta,
     .far = true},
    {.name = "kvrm_remap_far",
     .make = make_kvrm_engine,
     .transport = Transport::remap,
     .far = true},
    {.name = "paged", .make = make_paged_engine},
    {.name = "paged_graph", .make = make_paged_graph_engine},
    {.name = "static", .make = make_static_engine}};

INSTANTIATE_TEST_SUITE_P(Engines, EngineModelTest, ::testing::ValuesIn(kSetups),
                         [](const auto& value) { return std::string(value.param.name); });

}  // namespace
}  // namespace kvrm::engine_model
