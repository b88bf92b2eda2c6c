#include "harness/device/cpu_device.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "harness/base/check.h"
#include "harness/device/cpu_graph.h"
#include "harness/device/cpu_memory.h"
#include "harness/device/cpu_page_mapper.h"
#include "harness/device/machine_limits.h"
#include "harness/device/worker_pool.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kMaxWorkers = 1024;

class CpuDevice final : public Device {
 public:
  CpuDevice(DeviceInfo info, const CpuDeviceSpec& spec, std::span<const std::uint32_t> cores)
      : info_(std::move(info)),
        memory_(spec.memory_limit_bytes),
        mapper_(*this, memory_, spec.max_mappings),
        workers_({.workers = info_.workers, .caller_works = !spec.async, .cores = cores}) {}

 private:
  const DeviceInfo& do_info() const override { return info_; }
  Clock& do_clock() override { return clock_; }
  Result<Buffer> do_allocate(const AllocationSpec& spec) override {
    return memory_.allocate(spec).map(
        [&](std::byte* data) { return Buffer(*this, data, spec.bytes, spec.purpose); });
  }
  void do_free(std::byte* data, std::size_t /*bytes*/, MemoryPurpose /*purpose*/) override {
    memory_.free(data);
  }
  MemoryAccount do_memory() const override { return memory_.account(); }
  PageMapper* do_page_mapper() override { return &mapper_; }

  void do_launch(const Op& op) override {
    KVRM_CHECK(op.kernel != nullptr && op.kernel->host != nullptr);
    workers_.run(op);
  }
  std::unique_ptr<RecordedGraph> do_record(std::span<const Op> ops) override {
    return std::make_unique<CpuGraph>(ops, memory_.live_ranges());
  }
  void do_replay(const RecordedGraph& graph) override {
    workers_.run(static_cast<const CpuGraph&>(graph).ops());
  }
  void do_wait() override { workers_.wait(); }
  DeviceRun do_last_run() const override { return workers_.last_run(); }

  DeviceInfo info_;
  SteadyClock clock_;
  CpuMemory memory_;
  CpuPageMapper mapper_;
  WorkerPool workers_;
};

std::uint32_t default_workers(std::size_t cores) {
  const std::uint32_t quota = cpu_quota_cores("/");
  const auto usable = static_cast<std::uint32_t>(cores);
  return std::min(quota == 0 ? usable : std::min(quota, usable), kMaxWorkers);
}

}  // namespace

Result<std::unique_ptr<Device>> make_cpu_device(const CpuDeviceSpec& spec) {
  if (spec.workers > kMaxWorkers) {
    return bad_input(fmt::format("backend.workers: {} is more than {}", spec.workers, kMaxWorkers));
  }
  const std::vector<std::uint32_t> cores = process_cores();
  DeviceInfo info;
  info.backend = "cpu";
  info.kernel_target = spec.kernel_target;
  info.workers = spec.workers == 0 ? default_workers(cores.size()) : spec.workers;
  info.asynchronous = spec.async;
  if (spec.async) info.workers = std::max(info.workers, 2U) - 1;
  return std::make_unique<CpuDevice>(std::move(info), spec, cores);
}

}  // namespace kvrm
