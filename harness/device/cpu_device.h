// The CPU backend: real memory on huge pages, persistent pinned workers, graphs as pre-bound
// operation lists.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "harness/device/device.h"

namespace kvrm {

struct CpuDeviceSpec {
  std::uint32_t workers = 0;  // threads, the caller's included; 0: one for each core that this
                              // process may use
  std::string kernel_target;  // only reported; the composition root chooses the kernels
  std::uint64_t memory_limit_bytes = 0;  // 0: what the machine (or its cgroup) has free
  // The caller is no worker, and goes on while the others work: one worker fewer, at least one.
  bool async = false;
  std::uint64_t max_mappings =
      0;  // of this process, for PageMapper::check_spans(); 0: the system's
};

Result<std::unique_ptr<Device>> make_cpu_device(const CpuDeviceSpec& spec);

// Memory that this process may still take: the least of the machine's available memory and its
// cgroup's limit.
std::uint64_t available_memory_bytes();

}  // namespace kvrm
