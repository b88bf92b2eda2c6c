// Test only: an experiment over fake engines on a fake device, with a fault-free fake as the
// oracle.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "harness/driver/fake_engine.h"
#include "harness/driver/run_experiment.h"

namespace kvrm {

class FakeModel final : public Model {
 public:
  explicit FakeModel(ModelShape shape) : shape_(shape) {}

 private:
  const ModelShape& do_shape() const override { return shape_; }
  const ModelWeights& do_weights() const override { return weights_; }
  std::uint64_t do_digest() const override { return 17; }
  ModelShape shape_;
  ModelWeights weights_;
};

class FakeDevice final : public Device {
 public:
  explicit FakeDevice(ManualClock& clock) : clock_(clock) {}

 private:
  const DeviceInfo& do_info() const override { return info_; }
  Clock& do_clock() override { return clock_; }
  Result<Buffer> do_allocate(const AllocationSpec&) override {
    return fail(ExitCode::incomplete, "no memory here");
  }
  void do_free(std::byte*, std::size_t, MemoryPurpose) override {}
  MemoryAccount do_memory() const override { return {}; }
  void do_launch(const Op&) override {}
  std::unique_ptr<RecordedGraph> do_record(std::span<const Op>) override { return nullptr; }
  void do_replay(const RecordedGraph&) override {}
  void do_wait() override {}
  DeviceRun do_last_run() const override { return {}; }

  DeviceInfo info_{.backend = "fake", .kernel_target = "none", .workers = 1};
  ManualClock& clock_;
};

// Makes a fake's outputs depend on the rule as well as on the history.
inline std::function<void(const FakeRow&)> follow_rule(const FarHistoryRule& rule) {
  return [rule](const FakeRow& row) {
    const std::uint64_t key = hash_combine(rule.window_tokens, rule.summaries);
    for (float& value : row.output) {
      const std::uint64_t mixed = mix64(key ^ std::bit_cast<std::uint32_t>(value));
      value = static_cast<float>(mixed >> 40) * 0x1p-24F;
    }
    const bool decoder = row.token != kNoToken;
    const auto best = std::max_element(row.output.begin(), row.output.end()) - row.output.begin();
    if (decoder) row.token = static_cast<TokenId>(best);
    row.digest = decoder ? row.token : hash_bytes(std::as_bytes(std::span(row.output)));
  };
}

class RunExperimentTest : public testing::Test {
 protected:
  RunExperimentTest() {
    registry_.version = "test";
    registry_.backends = {{"fake", [this](const BackendSpec&) -> Result<std::unique_ptr<Device>> {
                             return std::make_unique<FakeDevice>(clock_);
                           }}};
    registry_.load_model = [](const ModelSpec& spec) -> Result<std::unique_ptr<Model>> {
      return std::make_unique<FakeModel>(spec.shape);
    };
    registry_.open_workload =
        [this](const WorkloadSpec& spec) -> Result<std::unique_ptr<RequestStream>> {
      std::vector<Request> requests;
      for (RequestId id = 0; id < spec.requests; ++id) {
        requests.push_back(fake_request(id, 0, 1 + id % 9, 1 + (id * 5) % 7));
      }
      return std::make_unique<ListStream>(std::move(requests), before_pull_);
    };
    registry_.make_oracle = [this](const Model& model,
                                   const FarHistoryRule& rule) -> std::unique_ptr<Engine> {
      FakeScript script{.shape = model.shape()};
      if (rule.enabled) {
        script.shadow = shadow_;
        script.fault = follow_rule(rule);
      }
      return std::make_unique<FakeEngine>(std::move(script));
    };
    ExperimentPoint point;
    point.model.shape = fake_shape(ModelKind::decoder);
    point.backend.kind = "fake";
    point.workload.requests = 40;
    point.budget = {.kv_bytes = 1000, .max_batch = 4, .max_len = 256, .prefill_tokens = 16};
    point.driver.repeats = 4;
    experiment_.points = {point};
  }

  ExperimentPoint& point() { return experiment_.points.front(); }
  void use_attention_only() { point().model.shape = fake_shape(ModelKind::attention_only); }

  // Adds an engine of its own kind.
  void add_engine(const std::string& label, std::function<void(FakeScript&)> change = {}) {
    registry_.engines.push_back({label, "a fake",
                                 [this, change](const EngineSpec& spec, const Model& model,
                                                Device&) -> Result<std::unique_ptr<Engine>> {
                                   FakeScript script;
                                   script.info.kind = spec.kind;
                                   script.info.label = spec.label;
                                   script.shape = model.shape();
                                   script.reserved_bytes = 1000;
                                   script.clock = &clock_;
                                   script.step_time = [](const StepPlan&) {
                                     return Nanoseconds{1000};
                                   };
                                   if (change) change(script);
                                   made_.push_back(spec.label);
                                   return std::make_unique<FakeEngine>(std::move(script));
                                 }});
    point().engines.push_back({.kind = label, .label = label, .budget = point().budget});
  }
  void add_faulty(const std::string& label, std::function<void(const FakeRow&)> fault) {
    add_engine(label, [fault](FakeScript& script) { script.fault = fault; });
  }

  ExperimentResult run() {
    Result<ExperimentResult> result = run_experiment(experiment_, registry_, options_);
    EXPECT_TRUE(result.has_value()) << result.error().message;
    return std::move(*result);
  }
  static std::map<std::string, RunStatus> states(const ExperimentResult& result) {
    std::map<std::string, RunStatus> states;
    for (const EngineResult& engine : result.engines) {
      states[engine.info.label] = engine.status;
      EXPECT_EQ(engine.metrics.has_value(), carries_metrics(engine.status));
    }
    return states;
  }

  ManualClock clock_;
  Registry registry_;
  Experiment experiment_;
  RunOptions options_;
  std::function<void()> before_pull_;
  std::vector<std::string> made_;
  ShadowError shadow_;  // what oracles of far histories say
};

}  // namespace kvrm
