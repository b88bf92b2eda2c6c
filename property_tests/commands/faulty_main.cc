// A `kvrm` whose engine `paged` has a planted fault: after forty decode steps it answers one row
// wrongly. Proves that a wrong output is found, named and never timed.
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "harness/cli/cli.h"
#include "harness/driver/registry.h"

namespace kvrm {
namespace {

constexpr int kFaultyStep = 40;

class FaultyEngine final : public Engine {
 public:
  explicit FaultyEngine(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

 private:
  const EngineInfo& do_info() const override { return engine_->info(); }
  bool do_admit(const Admission& admission) override { return engine_->admit(admission); }
  StepResult do_prefill(const PrefillChunk& chunk) override { return engine_->prefill(chunk); }
  bool do_extend(SlotIndex slot) override { return engine_->extend(slot); }
  void do_submit(const StepPlan& plan) override { engine_->submit(plan); }
  StepResult do_collect() override {
    StepResult result = engine_->collect();
    if (++steps_ != kFaultyStep || result.rows.empty()) return result;
    rows_.assign(result.rows.begin(), result.rows.end());
    rows_.front().output_digest ^= 1;
    if (rows_.front().token != kNoToken) rows_.front().token ^= 1;
    result.rows = rows_;
    return result;
  }
  void do_release(SlotIndex slot) override { engine_->release(slot); }
  EngineUsage do_usage() const override { return engine_->usage(); }

  std::unique_ptr<Engine> engine_;
  std::vector<RowResult> rows_;
  int steps_ = 0;
};

void plant_fault(Registry& registry) {
  for (EngineEntry& entry : registry.engines) {
    if (entry.kind != "paged") continue;
    entry.make = [make = entry.make](const EngineSpec& spec, const Model& model, Device& device) {
      return make(spec, model, device)
          .map([](std::unique_ptr<Engine> engine) -> std::unique_ptr<Engine> {
            return std::make_unique<FaultyEngine>(std::move(engine));
          });
    };
  }
}

}  // namespace
}  // namespace kvrm

int main(int argc, char** argv) {
  kvrm::Registry registry = kvrm::make_registry();
  kvrm::plant_fault(registry);
  return kvrm::run_cli(argc, argv, registry);
}
