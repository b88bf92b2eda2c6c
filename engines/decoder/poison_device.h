// A device whose KV and activation memory starts as NaN instead of zeros, so that a result that
// depends on what memory held before shows. Header-only, tests only.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "harness/device/device.h"

namespace kvrm::testing_models {

class PoisonDevice final : public Device {
 public:
  explicit PoisonDevice(std::unique_ptr<Device> device) : device_(std::move(device)) {}

 private:
  const DeviceInfo& do_info() const override { return device_->info(); }
  Clock& do_clock() override { return device_->clock(); }
  Result<Buffer> do_allocate(MemoryPurpose purpose, std::size_t bytes) override {
    Result<Buffer> buffer = device_->allocate(purpose, bytes);
    const bool poisoned = purpose == MemoryPurpose::kv_pool || purpose == MemoryPurpose::kv_view ||
                          purpose == MemoryPurpose::activations;
    // All ones are NaN as f32, f16 and bf16, and no token.
    if (buffer && poisoned) std::ranges::fill(buffer->as<std::byte>(), std::byte{0xff});
    return buffer;
  }
  // Buffers belong to the device behind, which frees them itself.
  void do_free(std::byte*, std::size_t, MemoryPurpose) override {}
  MemoryAccount do_memory() const override { return device_->memory(); }
  void do_launch(const Op& op) override { device_->launch(op); }
  std::unique_ptr<RecordedGraph> do_record(std::span<const Op> ops) override {
    return device_->record(ops);
  }
  void do_replay(const RecordedGraph& graph) override { device_->replay(graph); }
  void do_wait() override { device_->wait(); }

  std::unique_ptr<Device> device_;
};

}  // namespace kvrm::testing_models
