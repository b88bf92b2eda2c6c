// A graph does not know how long histories were when it was captured (DESIGN 19, 17): captured at
// length 1 and replayed up to the longest, captured at the longest and replayed from length 1 on,
// it gives the bits of eager steps at every length.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engines/decoder/test_models.h"
#include "engines/kvrm/kvrm_engine.h"
#include "engines/paged/paged_engine.h"
#include "engines/static/static_engine.h"
#include "harness/base/hash.h"
#include "property_tests/models/watched_device.h"

namespace kvrm {
namespace {

using testing_models::cpu;
using testing_models::take;
using testing_models::tiny_model;
using watched::WatchedDevice;

using Digests = std::vector<std::uint64_t>;

class CaptureLength : public ::testing::TestWithParam<ModelKind> {
 protected:
  EngineSpec spec(const char* kind) const {
    EngineSpec result{.kind = kind, .label = kind, .options = {}, .budget = {}};
    result.budget = {.kv_bytes = 8 * 256 * model_->shape().kv_bytes_per_token(),
                     .max_batch = 2,
                     .max_len = model_->shape().max_len,
                     .prefill_tokens = 64};
    result.options.batch_buckets = {2};
    return result;
  }

  // A history of one token in slot 1 grows to the longest; slot 0 is padding.
  Digests walk(Engine& engine) {
    Digests digests;
    const TokenId first = 1;
    std::vector<TokenId> prompt;
    if (GetParam() == ModelKind::decoder) prompt.push_back(first);
    EXPECT_TRUE(engine.admit({.slot = 1, .content_key = 77, .token_count = 1, .tokens = prompt}));
    take_row(engine.prefill({1, 0, 1, true}), digests);
    const std::vector<SlotIndex> slots = {1};
    for (std::uint32_t length = 2; length <= model_->shape().max_len; ++length) {
      EXPECT_TRUE(engine.extend(1));
      engine.submit({++step_, slots});
      take_row(engine.collect(), digests);
      if (after_step_) after_step_(length);
    }
    engine.release(1);
    return digests;
  }
  static void take_row(const StepResult& result, Digests& digests) {
    ASSERT_EQ(result.rows.size(), 1U);
    digests.push_back(hash_bytes(std::as_bytes(result.rows[0].output)));
  }

  template <class Make>
  void check(const Make& make, const EngineSpec& with, const Digests& expected) {
    SCOPED_TRACE(with.label + ", transport " +
                 std::to_string(static_cast<int>(with.options.transport)));
    WatchedDevice device(cpu());
    const auto engine = take(make(with, *model_, kernels_, device));
    step_ = 0;
    std::uint32_t recaptures = 0;
    const std::uint32_t longest = model_->shape().max_len;
    after_step_ = [&](std::uint32_t length) {
      if (length != 2 && length != longest) return;
      ++recaptures;
      EXPECT_EQ(device.record_again(), engine->usage().launch_hash) << "at " << length;
    };
    EXPECT_EQ(walk(*engine), expected) << "captured at the shortest";
    after_step_ = {};
    EXPECT_EQ(walk(*engine), expected) << "captured at the longest";
    EXPECT_EQ(recaptures, 2U);
    const EngineUsage usage = engine->usage();
    EXPECT_EQ(usage.launch_hash_changes, 0U);
    EXPECT_EQ(usage.counters.fallbacks, 0U);
    EXPECT_EQ(usage.counters.replays, 2 * (longest - 1));
  }

  std::unique_ptr<DecoderModel> model_ = tiny_model(GetParam());
  KernelSet kernels_ = take(select_kernels("auto"));
  Epoch step_ = 0;
  std::function<void(std::uint32_t)> after_step_;
};

TEST_P(CaptureLength, AtTheShortestAndAtTheLongestGivesWhatEagerStepsGive) {
  const auto device = cpu();
  const auto eager = take(make_paged_engine(spec("paged"), *model_, kernels_, *device));
  const Digests expected = walk(*eager);
  EXPECT_EQ(eager->usage().counters.replays, 0U);
  for (const Transport transport : {Transport::fused, Transport::full, Transport::delta}) {
    EngineSpec with = spec("kvrm");
    with.options.transport = transport;
    check(make_kvrm_engine, with, expected);
  }
  check(make_paged_graph_engine, spec("paged_graph"), expected);
  for (const StaticAttention attention : {StaticAttention::full, StaticAttention::early_exit}) {
    EngineSpec with = spec("static");
    with.options.attention = attention;
    check(make_static_engine, with, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, CaptureLength,
                         ::testing::Values(ModelKind::decoder, ModelKind::attention_only),
                         [](const auto& value) {
                           return value.param == ModelKind::decoder ? "decoder" : "attention_only";
                         });

}  // namespace
}  // namespace kvrm
