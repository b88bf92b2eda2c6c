// A device on which an engine plans and commits, and moves no KV: KV memory is address space that
// nobody may touch, prefill does nothing, and a graph is only its first node, which applies the
// step record. For measuring the host side of `kvrm`; outputs mean nothing on it.
#pragma once

#include <memory>

#include "harness/device/device.h"
#include "harness/device/page_mapper.h"

namespace kvrm {

// What `remap` does to the page tables.
enum class MappingWork : std::uint8_t { left_out, real };

class ControlPlaneDevice final : public Device {
 public:
  ControlPlaneDevice(std::unique_ptr<Device> device, MappingWork mapping);

 private:
  // Takes every mapping and makes none.
  class Mapper final : public PageMapper {
   public:
    explicit Mapper(ControlPlaneDevice& device) : device_(device) {}

   private:
    std::size_t do_page_bytes() const override { return kPageBytes; }
    Result<Buffer> do_allocate_pool(std::size_t bytes) override {
      return device_.allocate(MemoryPurpose::kv_pool, bytes);
    }
    Result<MappedView> do_reserve_view(std::size_t bytes) override;
    Status do_check_spans(std::uint64_t) const override { return {}; }
    MapCounters do_counters() const override { return {}; }
    Status do_map(std::byte*, const Buffer&, const MapSpan&) override { return {}; }
    Status do_unmap(std::byte*, std::size_t) override { return {}; }
    void do_release_view(std::byte* data, std::size_t bytes) override;

    ControlPlaneDevice& device_;
  };

  static constexpr std::size_t kPageBytes = 4096;

  const DeviceInfo& do_info() const override { return device_->info(); }
  Clock& do_clock() override { return device_->clock(); }
  Result<Buffer> do_allocate(const AllocationSpec& spec) override;
  void do_free(std::byte* data, std::size_t bytes, MemoryPurpose purpose) override;
  MemoryAccount do_memory() const override { return device_->memory(); }
  PageMapper* do_page_mapper() override {
    return mapping_ == MappingWork::real ? device_->page_mapper() : &mapper_;
  }
  void do_launch(const Op&) override {}
  std::unique_ptr<RecordedGraph> do_record(std::span<const Op> ops) override {
    return device_->record(ops.first(1));
  }
  void do_replay(const RecordedGraph& graph) override { device_->replay(graph); }
  void do_wait() override { device_->wait(); }
  DeviceRun do_last_run() const override { return device_->last_run(); }

  std::unique_ptr<Device> device_;
  MappingWork mapping_;
  Mapper mapper_{*this};
};

}  // namespace kvrm
