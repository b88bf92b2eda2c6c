#include "property_tests/simulation/instance.h"

#include <algorithm>
#include <utility>

#include "harness/base/hash.h"
#include "harness/device/cpu_device.h"

namespace kvrm::simulation {
namespace {

Result<std::unique_ptr<SimDevice>> make_device(const Instance::Parts& parts) {
  auto device = make_cpu_device({.workers = 1, .kernel_target = parts.kernels->target});
  if (!device) return tl::unexpected(device.error());
  return std::make_unique<SimDevice>(std::move(*device), *parts.kernels, parts.canary);
}

Result<std::unique_ptr<Engine>> make_engine(const EngineSpec& spec, const Instance::Parts& parts,
                                            Device& device) {
  for (const EngineEntry& entry : parts.registry->engines) {
    if (entry.kind == spec.kind) return entry.make(spec, *parts.model, device);
  }
  return bad_input(spec.kind + ": no such engine");
}

bool same_but_failures(const EngineUsage& before, const EngineUsage& after) {
  EngineCounters counters = after.counters;
  counters.allocation_failures = before.counters.allocation_failures;
  const auto words = [](const EngineCounters& value) {
    return hash_bytes(std::as_bytes(std::span(&value, 1)));
  };
  const MemoryUsage& a = before.memory;
  const MemoryUsage& b = after.memory;
  return words(counters) == words(before.counters) && a.reserved_bytes == b.reserved_bytes &&
         a.allocated_bytes == b.allocated_bytes && a.live_bytes == b.live_bytes;
}

}  // namespace

Result<std::unique_ptr<Instance>> Instance::make(const EngineSpec& spec, const Parts& parts,
                                                 std::uint64_t failing_call) {
  auto device = make_device(parts);
  if (!device) return tl::unexpected(device.error());
  const MemoryAccount before = (*device)->memory();
  (*device)->fail_allocation(failing_call);
  auto engine = make_engine(spec, parts, **device);
  const bool failed = !engine && engine.error().code == ExitCode::incomplete;
  const bool kept_memory = failed && (*device)->memory().bytes != before.bytes;
  (*device)->fail_allocation(0);
  if (failed) engine = make_engine(spec, parts, **device);
  if (!engine) return tl::unexpected(engine.error());
  std::unique_ptr<Instance> instance(new Instance(spec, std::move(*device), std::move(*engine)));
  instance->allocation_failed_ = failed;
  instance->expect(!kept_memory, "an engine that could not be made kept device memory");
  return instance;
}

Instance::Instance(EngineSpec spec, std::unique_ptr<SimDevice> device,
                   std::unique_ptr<Engine> engine)
    : spec_(std::move(spec)),
      device_(std::move(device)),
      engine_(std::move(engine)),
      kvrm_(dynamic_cast<const KvrmEngine*>(engine_.get())),
      extended_(engine_->info().slots),
      last_(engine_->usage()) {}

void Instance::expect(bool holds, const char* what) {
  if (!holds && violation_.empty()) violation_ = spec_.label + ": " + what;
}

std::vector<std::byte> Instance::image_copy() const {
  if (kvrm_ == nullptr) return {};
  return {kvrm_->image().begin(), kvrm_->image().end()};
}

void Instance::check_refusal(const EngineUsage& before, const std::vector<std::byte>& image) {
  const EngineUsage after = engine_->usage();
  expect(same_but_failures(before, after), "a refused call changed what the engine holds");
  expect(after.counters.allocation_failures == before.counters.allocation_failures + 1,
         "a refused call was not counted");
  expect(image == image_copy(), "a refused call changed the step image");
}

bool Instance::admit(const Admission& admission) {
  const EngineUsage before = engine_->usage();
  const std::vector<std::byte> image = image_copy();
  if (engine_->admit(admission)) {
    extended_[admission.slot] = false;
    return true;
  }
  check_refusal(before, image);
  return false;
}

bool Instance::extend(SlotIndex slot) {
  if (extended_[slot]) return true;
  if (engine_->extend(slot)) {
    extended_[slot] = true;
    return true;
  }
  // Once more, looked at: what was refused is refused again.
  const EngineUsage before = engine_->usage();
  const std::vector<std::byte> image = image_copy();
  expect(!engine_->extend(slot), "a refused extend() succeeded the second time");
  check_refusal(before, image);
  return false;
}

void Instance::release(SlotIndex slot) {
  engine_->release(slot);
  extended_[slot] = false;
}

void Instance::submit(const StepPlan& plan) {
  engine_->submit(plan);
  for (const SlotIndex slot : plan.slots) extended_[slot] = false;
  prepared_ = false;
  ++steps_;
}

void Instance::prepare(const StepPlan& plan) {
  engine_->prepare(plan);
  prepared_ = true;
}

StepResult Instance::collect(std::span<const SlotTruth> slots) {
  const StepResult result = engine_->collect();
  if (kvrm_ != nullptr) check_image(slots);
  check_usage();
  expect(device_->violation().empty(), device_->violation().c_str());
  return result;
}

// The counters that only rise, and what must hold between them.
void Instance::check_usage() {
  const EngineUsage usage = engine_->usage();
  const MemoryUsage& memory = usage.memory;
  const EngineCounters& now = usage.counters;
  const EngineCounters& before = last_.counters;
  expect(memory.reserved_bytes >= memory.allocated_bytes, "more KV is allocated than reserved");
  expect(memory.allocated_bytes >= memory.live_bytes, "more KV is live than allocated");
  expect(memory.reserved_bytes <= spec_.budget.kv_bytes, "more KV is reserved than the budget");
  expect(usage.launch_hash_changes == 0, "the launch hash changed");
  expect(now.captures == before.captures, "a graph was captured after the start");
  expect(now.fallbacks == 0, "a step that should have been replayed was not");
  expect(now.moved_bytes >= before.moved_bytes && now.groups >= before.groups &&
             now.rows > before.rows,
         "a counter fell, or a step was not counted");
  expect(now.groups_minimum <= now.groups || spec_.options.max_gap_blocks > 0,
         "fewer groups than runs");
  if (kvrm_ != nullptr) {
    expect(now.commits == steps_ && now.replays == steps_, "not one commit and replay a step");
  }
  last_ = usage;
}

void Instance::check_nothing_left() {
  const MemoryUsage memory = engine_->usage().memory;
  expect(memory.allocated_bytes == 0 && memory.live_bytes == 0,
         "memory is held after every slot was released");
}

std::uint64_t Instance::fold(std::uint64_t hash) const {
  hash = hash_combine(hash, hash_bytes(std::as_bytes(std::span(&last_.counters, 1))));
  hash = hash_combine(hash, last_.memory.allocated_bytes);
  hash = hash_combine(hash, last_.memory.live_bytes);
  return kvrm_ == nullptr ? hash : hash_combine(hash, hash_bytes(kvrm_->image()));
}

}  // namespace kvrm::simulation
