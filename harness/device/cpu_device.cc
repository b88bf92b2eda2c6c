#include "harness/device/cpu_device.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "harness/base/check.h"
#include "harness/device/cpu_graph.h"
#include "harness/device/cpu_memory.h"
#include "harness/device/machine_limits.h"
#include "harness/device/worker_pool.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kMaxWorkers = 1024;

class CpuDevice final : public Device {
 public:
  CpuDevice(DeviceInfo info, std::uint64_t memory_limit_bytes, std::span<const std::uint32_t> cores)
      : info_(std::move(info)), memory_(memory_limit_bytes), workers_(info_.workers, cores) {}

 private:
  const DeviceInfo& do_info() const override { return info_; }
  Clock& do_clock() override { return clock_; }
  Result<Buffer> do_allocate(MemoryPurpose purpose, std::size_t bytes) override {
    return memory_.allocate(purpose, bytes).map([&](std::byte* data) {
      return Buffer(*this, data, bytes, purpose);
    });
  }
  void do_free(std::byte* data, std::size_t bytes, MemoryPurpose purpose) override {
    memory_.free(data, bytes, purpose);
  }
  MemoryAccount do_memory() const override { return memory_.account(); }

  void do_launch(const Op& op) override {
    KVRM_CHECK(op.kernel != nullptr && op.kernel->host != nullptr);
    workers_.run({&op, 1});
  }
  std::unique_ptr<RecordedGraph> do_record(std::span<const Op> ops) override {
    return std::make_unique<CpuGraph>(ops);
  }
  // The caller is a worker, so the graph has ended when this returns and wait() has nothing to do.
  void do_replay(const RecordedGraph& graph) override {
    workers_.run(static_cast<const CpuGraph&>(graph).ops());
  }
  void do_wait() override {}

  DeviceInfo info_;
  SteadyClock clock_;
  CpuMemory memory_;
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
  return std::make_unique<CpuDevice>(std::move(info), spec.memory_limit_bytes, cores);
}

}  // namespace kvrm
