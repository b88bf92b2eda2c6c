// A device whose KV and activation memory starts as NaN instead of zeros, so that a result that
// depends on what memory held before shows. Header-only, tests only.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "harness/device/device.h"
#include "harness/device/page_mapper.h"

namespace kvrm::testing_models {

// All ones are NaN as f32, f16 and bf16, and no token.
inline void poison(Result<Buffer>& buffer) {
  if (buffer) std::ranges::fill(buffer->as<std::byte>(), std::byte{0xff});
}

class PoisonMapper final : public PageMapper {
 public:
  explicit PoisonMapper(PageMapper& mapper) : mapper_(mapper) {}

 private:
  std::size_t do_page_bytes() const override { return mapper_.page_bytes(); }
  Result<Buffer> do_allocate_pool(std::size_t bytes) override {
    Result<Buffer> pool = mapper_.allocate_pool(bytes);
    poison(pool);
    return pool;
  }
  // A view belongs to the mapper behind, which maps into it and releases it itself.
  Result<MappedView> do_reserve_view(std::size_t bytes) override {
    return mapper_.reserve_view(bytes);
  }
  Status do_check_spans(std::uint64_t spans) const override { return mapper_.check_spans(spans); }
  MapCounters do_counters() const override { return mapper_.counters(); }
  Status do_map(std::byte*, const Buffer&, const MapSpan&) override { return {}; }
  Status do_unmap(std::byte*, std::size_t) override { return {}; }
  void do_release_view(std::byte*, std::size_t) override {}

  PageMapper& mapper_;
};

class PoisonDevice final : public Device {
 public:
  explicit PoisonDevice(std::unique_ptr<Device> device)
      : device_(std::move(device)), mapper_(*device_->page_mapper()) {}

 private:
  const DeviceInfo& do_info() const override { return device_->info(); }
  Clock& do_clock() override { return device_->clock(); }
  Result<Buffer> do_allocate(const AllocationSpec& spec) override {
    Result<Buffer> buffer = device_->allocate(spec);
    const bool poisoned = spec.purpose == MemoryPurpose::kv_pool ||
                          spec.purpose == MemoryPurpose::kv_view ||
                          spec.purpose == MemoryPurpose::activations;
    if (poisoned) poison(buffer);
    return buffer;
  }
  // Buffers belong to the device behind, which frees them itself.
  void do_free(std::byte*, std::size_t, MemoryPurpose) override {}
  MemoryAccount do_memory() const override { return device_->memory(); }
  PageMapper* do_page_mapper() override { return &mapper_; }
  void do_launch(const Op& op) override { device_->launch(op); }
  std::unique_ptr<RecordedGraph> do_record(std::span<const Op> ops) override {
    return device_->record(ops);
  }
  void do_replay(const RecordedGraph& graph) override { device_->replay(graph); }
  void do_wait() override { device_->wait(); }
  DeviceRun do_last_run() const override { return device_->last_run(); }

  std::unique_ptr<Device> device_;
  PoisonMapper mapper_;
};

}  // namespace kvrm::testing_models
