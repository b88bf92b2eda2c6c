// One engine of a simulated world with its device, and the checks that need nothing else: what may
// hold after a step, after a refusal, and at the end. Which commands it gets is the world's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engines/kvrm/kvrm_engine.h"
#include "harness/driver/registry.h"
#include "property_tests/simulation/sim_device.h"

namespace kvrm::simulation {

// What the world knows of a slot that an engine's image must show.
struct SlotTruth {
  bool active = false;          // in the last step
  std::uint32_t positions = 0;  // computed
  std::uint64_t content_key = 0;
  std::uint64_t prefix_key = 0;
  std::uint32_t prefix_tokens = 0;
};

class Instance {
 public:
  struct Parts {
    const Registry* registry = nullptr;
    const Model* model = nullptr;
    const KernelSet* kernels = nullptr;
    Canary canary = Canary::none;
  };
  // With failing_call > 0 that allocation is refused the first time; the second try must then
  // succeed, and the first must have left no memory behind. An option that the engine does not take
  // is an error; violation() is not.
  static Result<std::unique_ptr<Instance>> make(const EngineSpec& spec, const Parts& parts,
                                                std::uint64_t failing_call);

  Engine& engine() { return *engine_; }
  SimDevice& device() { return *device_; }
  const std::string& label() const { return engine_->info().label; }
  bool can_fork() const { return engine_->info().can_fork; }
  bool allocation_failed() const { return allocation_failed_; }
  const std::string& violation() const { return violation_; }

  // These fail where a refusal changes anything.
  bool admit(const Admission& admission);
  bool extend(SlotIndex slot);  // true at once where it was extended before
  void release(SlotIndex slot);
  // 0: it has no block pool.
  std::uint32_t block_tokens() const {
    return spec_.kind == "static" ? 0 : spec_.options.block_tokens;
  }
  bool extended(SlotIndex slot) const { return extended_[slot]; }

  void submit(const StepPlan& plan);
  void prepare(const StepPlan& plan);
  StepResult collect(std::span<const SlotTruth> slots);  // the truth after the step
  // Positions of a slot in the pool, element by element, against the content that they must have.
  void read_back(SlotIndex slot, const SlotTruth& truth, const ModelShape& shape);
  // After every slot was released.
  void check_nothing_left();
  std::uint64_t fold(std::uint64_t hash) const;  // of what it counts

 private:
  Instance(EngineSpec spec, std::unique_ptr<SimDevice> device, std::unique_ptr<Engine> engine);

  void expect(bool holds, const char* what);
  void check_refusal(const EngineUsage& before, const std::vector<std::byte>& image);
  std::vector<std::byte> image_copy() const;
  void check_usage();
  void check_image(std::span<const SlotTruth> slots);
  void check_row(const StepImage& image, SlotIndex slot, const SlotTruth& truth);
  void check_groups(const StepImage& image, SlotIndex slot);
  void check_owners(const StepImage& image);

  EngineSpec spec_;
  std::unique_ptr<SimDevice> device_;
  std::unique_ptr<Engine> engine_;
  const KvrmEngine* kvrm_ = nullptr;
  std::string violation_;
  bool allocation_failed_ = false;
  bool prepared_ = false;
  std::vector<bool> extended_;
  EngineUsage last_;
  std::uint64_t steps_ = 0;
};

}  // namespace kvrm::simulation
