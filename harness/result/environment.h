// Facts about the machine and the build under which something was measured. Read once, before the
// measurement; what cannot be read is "unknown" or "none", never left out.
#pragma once

#include <filesystem>
#include <string>

#include "harness/device/device.h"
#include "harness/result/results.h"

namespace kvrm {

// Facts, by key: version (with the commit), compiler, compile_flags, build_type, backend,
// kernel_target, workers; cpu, cpu_cores (usable by this process), cpu_quota (cores, from the
// cgroup, or "none"), cpu_governor, huge_pages (transparent), huge_pages_reserved, numa_nodes,
// memory_bytes, gpu, gpu_driver, kernel, load_average, time_utc. `root` stands for the file system
// that /proc and /sys are read from.
Environment capture_environment(const DeviceInfo& device, const std::string& version,
                                const std::filesystem::path& root = "/");

}  // namespace kvrm
