// Replaying a recorded graph takes no lock, allocates nothing and calls no system function: what an
// engine does once a step with its graph is computing and nothing else. The products of matrices
// are looked away from: they are oneDNN's, which allocates what an execution needs each time.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engines/decoder/test_models.h"
#include "engines/kvrm/kvrm_engine.h"
#include "engines/paged/paged_engine.h"
#include "engines/static/static_engine.h"
#include "property_tests/replay/quiet_thread.h"

namespace kvrm {
namespace {

using quiet::Counts;
using testing_models::cpu;
using testing_models::take;
using testing_models::tiny_model;

constexpr std::uint32_t kSteps = 100;

// Watches the thread that replays, from the call to the end of what was replayed.
class QuietDevice final : public Device {
 public:
  explicit QuietDevice(std::unique_ptr<Device> device) : device_(std::move(device)) {}

  const Counts& counts() const { return counts_; }
  std::uint64_t replays() const { return replays_; }

 private:
  const DeviceInfo& do_info() const override { return device_->info(); }
  Clock& do_clock() override { return device_->clock(); }
  Result<Buffer> do_allocate(const AllocationSpec& spec) override {
    return device_->allocate(spec);
  }
  // Buffers belong to the device behind, which frees them itself.
  void do_free(std::byte*, std::size_t, MemoryPurpose) override {}
  MemoryAccount do_memory() const override { return device_->memory(); }
  PageMapper* do_page_mapper() override { return device_->page_mapper(); }
  void do_launch(const Op& op) override { device_->launch(op); }
  std::unique_ptr<RecordedGraph> do_record(std::span<const Op> ops) override {
    return device_->record(ops);
  }
  void do_replay(const RecordedGraph& graph) override {
    ++replays_;
    const quiet::Watch watch(counts_);
    device_->replay(graph);
    device_->wait();
  }
  void do_wait() override { device_->wait(); }
  DeviceRun do_last_run() const override { return device_->last_run(); }

  std::unique_ptr<Device> device_;
  Counts counts_;
  std::uint64_t replays_ = 0;
};

void look_away_and_multiply(const void* args, std::uint32_t item, WorkerContext& worker) {
  static const KernelSet kernels = take(select_kernels("auto"));
  const quiet::LookAway look_away;
  kernels.linear->host(args, item, worker);
}

constexpr Kernel kUnwatchedLinear = {"linear/unwatched", look_away_and_multiply};

class ReplayPath : public ::testing::TestWithParam<ModelKind> {
 protected:
  void SetUp() override {
    if (const char* reason = quiet::why_not()) GTEST_SKIP() << "SKIPPED: " << reason;
    kernels_ = take(select_kernels("auto"));
    if (GetParam() == ModelKind::decoder) kernels_.linear = &kUnwatchedLinear;
  }
  EngineSpec spec(const char* kind) const {
    EngineSpec result{.kind = kind, .label = kind, .options = {}, .budget = {}};
    result.budget = {.kv_bytes = 16 * 256 * model_->shape().kv_bytes_per_token(),
                     .max_batch = 4,
                     .max_len = model_->shape().max_len,
                     .prefill_tokens = 64};
    result.options.batch_buckets = {2, 4};
    return result;
  }
  // Four histories grow side by side; every step is a replay.
  Counts walk(Engine& engine, const QuietDevice& device) {
    std::vector<SlotIndex> slots;
    for (SlotIndex slot = 0; slot < 4; ++slot) {
      std::vector<TokenId> prompt;
      if (GetParam() == ModelKind::decoder) prompt.assign(20 + slot, TokenId{1});
      EXPECT_TRUE(engine.admit(
          {.slot = slot, .content_key = 77 + slot, .token_count = 20 + slot, .tokens = prompt}));
      engine.prefill({slot, 0, 20 + slot, true});
      slots.push_back(slot);
    }
    for (Epoch step = 1; step <= kSteps; ++step) {
      for (const SlotIndex slot : slots) EXPECT_TRUE(engine.extend(slot));
      engine.submit({step, slots});
      engine.collect();
    }
    EXPECT_EQ(device.replays(), kSteps);
    return device.counts();
  }
  template <class Make>
  void check(const Make& make, const EngineSpec& with) {
    SCOPED_TRACE(with.label + ", transport " +
                 std::to_string(static_cast<int>(with.options.transport)));
    for (const std::uint32_t workers : {1U, 2U}) {
      QuietDevice device(cpu(workers));
      const auto engine = take(make(with, *model_, kernels_, device));
      const Counts counts = walk(*engine, device);
      EXPECT_EQ(counts.allocations, 0U) << workers;
      EXPECT_EQ(counts.locks, 0U) << workers;
      EXPECT_EQ(counts.calls, 0U) << workers << ", the last was number " << counts.last_call;
      // Where workers have to wait for one another longer than they spin, they sleep.
      EXPECT_TRUE(workers > 1 || counts.futex_calls == 0);
    }
  }

  std::unique_ptr<DecoderModel> model_ = tiny_model(GetParam());
  KernelSet kernels_;
};

TEST_P(ReplayPath, IsComputingAndNothingElse) {
  check(make_static_engine, spec("static"));
  check(make_paged_graph_engine, spec("paged_graph"));
  for (const Transport transport : {Transport::fused, Transport::full, Transport::delta}) {
    EngineSpec with = spec("kvrm");
    with.options.transport = transport;
    check(make_kvrm_engine, with);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ReplayPath,
                         ::testing::Values(ModelKind::attention_only, ModelKind::decoder),
                         [](const auto& value) {
                           return value.param == ModelKind::decoder ? "decoder" : "attention_only";
                         });

// The watch itself: each kind of thing is seen, once for each time that it happens, and only while
// somebody watches and nobody looks away.
TEST(QuietThread, SeesWhatItSaysThatItSees) {
  if (const char* reason = quiet::why_not()) GTEST_SKIP() << "SKIPPED: " << reason;
  std::mutex mutex;
  Counts counts;
  const auto act = [&] {
    const auto number = std::make_unique<std::uint64_t>(7);
    const std::vector<int> numbers(static_cast<std::size_t>(*number));
    const std::scoped_lock lock(mutex);
    // Not getpid() itself, which a C library may remember.
    return syscall(SYS_getpid) + syscall(SYS_gettid) + static_cast<long>(numbers.size());
  };
  const long unwatched = act();
  long watched = 0;
  {
    const quiet::Watch watch(counts);
    watched = act();
    const quiet::LookAway look_away;
    act();
  }
  act();
  EXPECT_EQ(watched, unwatched) << "the calls are made all the same";
  EXPECT_EQ(counts.allocations, 2U);
  EXPECT_EQ(counts.locks, 1U);
  EXPECT_EQ(counts.calls, 2U);
  EXPECT_EQ(counts.last_call, SYS_gettid);
  EXPECT_EQ(counts.futex_calls, 0U);
}

}  // namespace
}  // namespace kvrm
