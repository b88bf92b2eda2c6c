// A CPU device on which things go wrong when they are told to: memory that is refused, records that
// arrive damaged, copies that come late, in another order, in part or twice, workers that stall.
// KV and activations begin as NaN. One thread; what it does follows from seeds alone.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engines/descriptor/apply_step.h"
#include "harness/base/prng.h"
#include "harness/device/device.h"
#include "harness/device/page_mapper.h"
#include "kernels/dispatch/kernel_set.h"
#include "kernels/page/page.h"
#include "property_tests/simulation/faults.h"

namespace kvrm::simulation {

class SimDevice final : public Device {
 public:
  SimDevice(std::unique_ptr<Device> device, const KernelSet& kernels, Canary canary);

  // The n-th allocation from now on fails, counted from 1; 0: none does.
  void fail_allocation(std::uint64_t call) { allocations_until_failure_ = call; }
  // The next replay, or else the launches up to disarm(), suffer the fault.
  void arm(Fault fault, std::uint64_t seed);
  // Whether the armed fault had something to befall.
  bool disarm();
  // What a fault brought about that must not be; empty: nothing.
  const std::string& violation() const { return violation_; }

  // Of the graph whose first node applies a step record; null without one.
  const ApplyStepArgs* apply_args() const { return apply_args_; }
  // Of that graph's nodes that write new positions into the pool, by layer.
  std::span<const AppendKvArgs* const> append_args() const { return append_args_; }

 private:
  class Mapper final : public PageMapper {
   public:
    explicit Mapper(SimDevice& device, PageMapper& mapper) : device_(device), mapper_(mapper) {}

   private:
    std::size_t do_page_bytes() const override { return mapper_.page_bytes(); }
    Result<Buffer> do_allocate_pool(std::size_t bytes) override;
    // A view belongs to the mapper behind, which maps into it and releases it itself.
    Result<MappedView> do_reserve_view(std::size_t bytes) override;
    Status do_check_spans(std::uint64_t spans) const override { return mapper_.check_spans(spans); }
    MapCounters do_counters() const override { return mapper_.counters(); }
    Status do_map(std::byte*, const Buffer&, const MapSpan&) override { return {}; }
    Status do_unmap(std::byte*, std::size_t) override { return {}; }
    void do_release_view(std::byte*, std::size_t) override {}

    SimDevice& device_;
    PageMapper& mapper_;
  };

  class Graph final : public RecordedGraph {
   public:
    Graph(std::span<const Op> list, std::unique_ptr<RecordedGraph> graph)
        : ops(list.begin(), list.end()), inner(std::move(graph)) {}

    std::vector<Op> ops;
    std::unique_ptr<RecordedGraph> inner;

   private:
    std::uint64_t do_launch_hash() const override { return inner->launch_hash(); }
    std::uint64_t do_launch_signature() const override { return inner->launch_signature(); }
    std::size_t do_op_count() const override { return inner->op_count(); }
    std::size_t do_bytes() const override { return inner->bytes(); }
  };

  const DeviceInfo& do_info() const override { return device_->info(); }
  Clock& do_clock() override { return device_->clock(); }
  Result<Buffer> do_allocate(const AllocationSpec& spec) override;
  // Buffers belong to the device behind, which frees them itself.
  void do_free(std::byte*, std::size_t, MemoryPurpose) override {}
  MemoryAccount do_memory() const override { return device_->memory(); }
  PageMapper* do_page_mapper() override { return &mapper_; }
  void do_launch(const Op& op) override;
  std::unique_ptr<RecordedGraph> do_record(std::span<const Op> ops) override;
  void do_replay(const RecordedGraph& graph) override;
  void do_wait() override;
  DeviceRun do_last_run() const override { return device_->last_run(); }

  bool refuses_allocation();
  void note_appends(std::span<const Op> ops);
  void replay_under_attack(const Graph& graph);
  void replay_disturbed(const Graph& graph);
  void sing(const Graph& graph);
  bool is_copy(const Op& op) const;
  void run_disturbed(const Op& op);
  void run_items(const Op& op, std::span<const std::uint32_t> items);
  std::vector<std::uint32_t> shuffled(std::uint32_t items);

  std::unique_ptr<Device> device_;
  Mapper mapper_;
  std::array<const Kernel*, 5> copies_;
  Canary canary_;
  std::optional<Fault> armed_;
  RandomStream random_;
  bool fired_ = false;
  std::string violation_;
  std::uint64_t allocations_until_failure_ = 0;
  std::vector<std::variant<const Graph*, Op>> delayed_;
  const ApplyStepArgs* apply_args_ = nullptr;
  std::vector<const AppendKvArgs*> append_args_;
  std::vector<std::byte> scratch_;  // of two workers that are not the caller
};

}  // namespace kvrm::simulation
