// `kvrm`, with `paged` and `paged_graph` as its peers: whatever the schedule, placement, transport
// and buckets, every request's outputs are the same bits as when it runs alone; and the step image
// is what a rebuild would give after every step.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engines/decoder/poison_device.h"
#include "engines/decoder/test_models.h"
#include "engines/history/pooled_testing.h"
#include "engines/kvrm/kvrm_engine.h"
#include "engines/paged/paged_engine.h"

namespace kvrm {
namespace {

using pooled_testing::Churn;
using pooled_testing::draw_requests;
using pooled_testing::TestRequest;
using testing_models::cpu;
using testing_models::PoisonDevice;
using testing_models::take;
using testing_models::tiny_model;

using Outputs = std::vector<std::vector<std::uint64_t>>;

constexpr Placement kPlacements[] = {Placement::lifo, Placement::address_ordered,
                                     Placement::extent};

struct Case {
  ModelKind model;
  DType kv_dtype;
  std::uint32_t block_tokens;
};

class PooledEngines : public ::testing::TestWithParam<Case> {
 protected:
  std::uint32_t vocabulary() const {
    return GetParam().model == ModelKind::decoder ? model_->shape().vocabulary : 0;
  }
  EngineSpec spec(const char* kind, Placement placement = Placement::lifo) const {
    EngineSpec result{.kind = kind, .label = kind, .options = {}, .budget = {}};
    result.options.block_tokens = GetParam().block_tokens;
    result.options.placement = placement;
    result.options.prefetch = placement == Placement::extent ? Prefetch::run : Prefetch::block;
    // One and a half of the longest histories for five slots: preemption is certain.
    result.budget = {.kv_bytes = 320 * model_->shape().kv_bytes_per_token(),
                     .max_batch = 5,
                     .max_len = model_->shape().max_len,
                     .prefill_tokens = 24};
    return result;
  }
  template <class Make>
  std::unique_ptr<Engine> make(const Make& make_engine, const EngineSpec& with) {
    return take(make_engine(with, *model_, kernels_, device_));
  }
  Outputs alone(const std::vector<TestRequest>& requests) {
    Outputs outputs;
    EngineSpec one = spec("paged");
    one.budget.max_batch = 1;
    const auto engine = make(make_paged_engine, one);
    for (const TestRequest& request : requests) {
      outputs.push_back(Churn(*engine, {request}, vocabulary(), 1).run()[0]);
    }
    return outputs;
  }

  std::unique_ptr<DecoderModel> model_ = tiny_model(GetParam().model, GetParam().kv_dtype);
  PoisonDevice device_{cpu()};
  KernelSet kernels_ = take(select_kernels("auto"));
  std::vector<TestRequest> requests_ = draw_requests(5, 14, model_->shape().max_len);
};

TEST_P(PooledEngines, GiveTheSameBitsAsEachRequestAlone) {
  const Outputs expected = alone(requests_);
  for (const Placement placement : kPlacements) {
    const auto check = [&](Engine& engine, const std::string& name) {
      Churn churn(engine, requests_, vocabulary(), 17 + static_cast<std::uint64_t>(placement));
      EXPECT_EQ(churn.run(), expected) << name;
      EXPECT_GT(churn.preemptions(), 0U) << name;
      const EngineUsage usage = engine.usage();
      EXPECT_EQ(usage.memory.allocated_bytes, 0U) << name;
      EXPECT_EQ(usage.memory.live_bytes, 0U) << name;
      EXPECT_EQ(usage.launch_hash_changes, 0U) << name;
    };
    check(*make(make_paged_engine, spec("paged", placement)), "paged");
    EngineSpec buckets = spec("paged_graph", placement);
    buckets.options.length_buckets = {64, 200};
    check(*make(make_paged_graph_engine, buckets), "paged_graph");
    buckets.options.batch_buckets = {5};
    check(*make(make_paged_graph_engine, buckets), "paged_graph of one bucket");
    buckets.options.batch_buckets = {2};
    check(*make(make_paged_graph_engine, buckets), "paged_graph that falls back");
  }
}

// What the engine says that it moved, from what DESIGN 8 predicts.
std::uint64_t predicted_moved_bytes(const EngineCounters& counters, const EngineSpec& spec,
                                    std::uint64_t token_bytes) {
  const std::uint64_t block_bytes = spec.options.block_tokens * token_bytes;
  std::uint64_t bytes = (counters.compacted_blocks + counters.copy_on_writes) * block_bytes;
  const std::uint64_t rows = counters.rows - counters.padding_rows;
  switch (spec.options.transport) {
    case Transport::fused:
    case Transport::remap:
      return bytes;
    case Transport::full:  // every block of every slot, every step
      return bytes + counters.blocks * block_bytes;
    case Transport::delta:  // new and remapped blocks, and each step's new positions
      return bytes + counters.blocks * block_bytes + rows * token_bytes;
  }
  return bytes;
}

TEST_P(PooledEngines, KvrmGivesTheSameBitsAndItsImageIsARebuild) {
  const Outputs expected = alone(requests_);
  const std::uint64_t token_bytes = model_->shape().kv_bytes_per_token();
  const std::uint64_t pages = GetParam().block_tokens * token_bytes / model_->shape().layers;
  for (const Placement placement : kPlacements) {
    for (const Transport transport :
         {Transport::fused, Transport::full, Transport::delta, Transport::remap}) {
      if (transport == Transport::remap && pages % 4096 != 0) continue;
      EngineSpec with = spec("kvrm", placement);
      with.options.transport = transport;
      // The view on top, so that the pool is as tight for every transport.
      const std::uint64_t view = 5 * 256 * token_bytes;
      if (transport == Transport::full) with.budget.kv_bytes += view / model_->shape().layers;
      if (transport == Transport::delta) with.budget.kv_bytes += view;
      with.options.max_group_bytes = placement == Placement::address_ordered ? 8192 : 0;
      if (placement != Placement::extent) {
        with.options.compaction_bytes_per_step = 3 * GetParam().block_tokens * token_bytes;
      }
      SCOPED_TRACE("transport " + std::to_string(static_cast<int>(transport)) + ", placement " +
                   std::to_string(static_cast<int>(placement)));
      const auto engine = take(KvrmEngine::make(with, *model_, kernels_, device_));
      const EngineUsage start = engine->usage();
      std::uint64_t steps = 0;
      Churn churn(*engine, requests_, vocabulary(), 29, [&] {
        ++steps;
        ASSERT_TRUE(std::ranges::equal(engine->image(), engine->expected_image()));
      });
      EXPECT_EQ(churn.run(), expected);
      const EngineUsage usage = engine->usage();
      EXPECT_EQ(usage.counters.captures, 1U);
      EXPECT_EQ(usage.counters.replays, steps);
      EXPECT_EQ(usage.counters.commits, steps);
      EXPECT_EQ(usage.launch_hash, start.launch_hash);
      EXPECT_EQ(usage.launch_hash_changes, 0U);
      EXPECT_GE(usage.counters.groups, usage.counters.groups_minimum);
      EXPECT_EQ(usage.counters.moved_bytes,
                predicted_moved_bytes(usage.counters, with, token_bytes));
      EXPECT_EQ(usage.memory.allocated_bytes, 0U);
      EXPECT_EQ(usage.memory.live_bytes, 0U);
      if (transport == Transport::remap) {
        // The mapper is the device's, so it counts for every engine that ever used it.
        const std::uint64_t mapped = usage.counters.mapped_bytes - start.counters.mapped_bytes;
        EXPECT_EQ(mapped, usage.counters.blocks * GetParam().block_tokens * token_bytes);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, PooledEngines,
                         ::testing::Values(Case{ModelKind::decoder, DType::f32, 16},
                                           Case{ModelKind::decoder, DType::bf16, 64},
                                           Case{ModelKind::attention_only, DType::f16, 32},
                                           Case{ModelKind::attention_only, DType::bf16, 16},
                                           Case{ModelKind::attention_only, DType::f32, 32},
                                           Case{ModelKind::decoder, DType::f16, 8},
                                           Case{ModelKind::attention_only, DType::bf16, 8}),
                         [](const auto& value) {
                           return std::string(value.param.model == ModelKind::decoder
                                                  ? "decoder"
                                                  : "attention_only") +
                                  "_" + std::string(dtype_name(value.param.kv_dtype)) + "_block" +
                                  std::to_string(value.param.block_tokens);
                         });

}  // namespace
}  // namespace kvrm
