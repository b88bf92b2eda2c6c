// A device whose buffers are pieces of the heap, each exactly as long as was asked for, so that a
// sanitizer sees a kernel's step beyond one of them; and soon made. All else is the device behind.
// It maps no pages.
#pragma once

#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "harness/device/device.h"

namespace kvrm {

class HeapDevice final : public Device {
 public:
  explicit HeapDevice(std::unique_ptr<Device> device) : device_(std::move(device)) {}

 private:
  static constexpr std::align_val_t kAlignment{64};

  const DeviceInfo& do_info() const override { return device_->info(); }
  Clock& do_clock() override { return device_->clock(); }
  Result<Buffer> do_allocate(const AllocationSpec& spec) override {
    void* memory = ::operator new(spec.bytes, kAlignment);
    std::memset(memory, 0, spec.bytes);
    return Buffer(*this, static_cast<std::byte*>(memory), spec.bytes, spec.purpose);
  }
  void do_free(std::byte* data, std::size_t, MemoryPurpose) override {
    ::operator delete(data, kAlignment);
  }
  MemoryAccount do_memory() const override { return device_->memory(); }
  void do_launch(const Op& op) override { device_->launch(op); }
  std::unique_ptr<RecordedGraph> do_record(std::span<const Op> ops) override {
    return device_->record(ops);
  }
  void do_replay(const RecordedGraph& graph) override { device_->replay(graph); }
  void do_wait() override { device_->wait(); }
  DeviceRun do_last_run() const override { return device_->last_run(); }

  std::unique_ptr<Device> device_;
};

}  // namespace kvrm
