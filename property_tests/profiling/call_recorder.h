// An engine that notes what the driver asks of it, in order, and passes it on.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "harness/contract/engine.h"
#include "harness/driver/registry.h"

namespace kvrm {

enum class EngineCallKind { admit, prefill, extend, submit, prepare, collect, release };

struct RecordedCall {
  EngineCallKind kind;
  bool given = true;  // of admit and extend
  Epoch step = 0;     // of submit and prepare
};

using RecordedCalls = std::vector<RecordedCall>;

class CallRecorder final : public Engine {
 public:
  CallRecorder(std::unique_ptr<Engine> engine, RecordedCalls& calls)
      : engine_(std::move(engine)), calls_(calls) {}

 private:
  const EngineInfo& do_info() const override { return engine_->info(); }
  bool do_admit(const Admission& admission) override {
    const bool given = engine_->admit(admission);
    calls_.push_back({.kind = EngineCallKind::admit, .given = given});
    return given;
  }
  StepResult do_prefill(const PrefillChunk& chunk) override {
    calls_.push_back({.kind = EngineCallKind::prefill});
    return engine_->prefill(chunk);
  }
  bool do_extend(SlotIndex slot) override {
    const bool given = engine_->extend(slot);
    calls_.push_back({.kind = EngineCallKind::extend, .given = given});
    return given;
  }
  void do_submit(const StepPlan& plan) override {
    calls_.push_back({.kind = EngineCallKind::submit, .step = plan.step});
    engine_->submit(plan);
  }
  void do_prepare(const StepPlan& next) override {
    calls_.push_back({.kind = EngineCallKind::prepare, .step = next.step});
    engine_->prepare(next);
  }
  StepResult do_collect() override {
    calls_.push_back({.kind = EngineCallKind::collect});
    return engine_->collect();
  }
  void do_release(SlotIndex slot) override {
    calls_.push_back({.kind = EngineCallKind::release});
    engine_->release(slot);
  }
  EngineUsage do_usage() const override { return engine_->usage(); }

  std::unique_ptr<Engine> engine_;
  RecordedCalls& calls_;
};

// The registry, each of whose engines notes its calls in `calls`, which must outlive them.
inline Registry recording(Registry registry, RecordedCalls& calls) {
  for (EngineEntry& entry : registry.engines) {
    entry.make = [make = entry.make, &calls](const EngineSpec& spec, const Model& model,
                                             Device& device) {
      return make(spec, model, device)
          .map([&](std::unique_ptr<Engine> engine) -> std::unique_ptr<Engine> {
            return std::make_unique<CallRecorder>(std::move(engine), calls);
          });
    };
  }
  return registry;
}

}  // namespace kvrm
