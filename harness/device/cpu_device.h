// The CPU backend: real memory on huge pages, persistent pinned workers, graphs as pre-bound
// operation lists.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "harness/device/device.h"

namespace kvrm {

struct CpuDeviceSpec {
  std::uint32_t workers = 0;             // 0: one for each core that this process may use
  std::string kernel_target;             // only reported; the composition root chooses the kernels
  std::uint64_t memory_limit_bytes = 0;  // 0: what the machine (or its cgroup) has free
};

Result<std::unique_ptr<Device>> make_cpu_device(const CpuDeviceSpec& spec);

// Memory that this process may still take: the least of the machine's available memory and its
// cgroup's limit.
std::uint64_t available_memory_bytes();

}  // namespace kvrm
