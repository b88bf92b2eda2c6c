// What the machine lets this process take: free memory and cores, with the cgroup limits (v1 and
// v2) that containers set. Reads files under a root, so that tests can hand in their own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace kvrm {

// The least of MemAvailable and, at every level of this process's memory cgroup, limit - usage +
// reclaimable file pages. The largest integer where nothing could be read.
std::uint64_t available_memory_bytes(const std::filesystem::path& root);

// Cores by which the CPU cgroup's quota limits this process, rounded up; 0: no quota.
std::uint32_t cpu_quota_cores(const std::filesystem::path& root);

// Mappings of memory that this process has, and may have (vm.max_map_count; the largest integer
// where it cannot be read).
struct MappingCount {
  std::uint64_t used = 0;
  std::uint64_t most = 0;
};
MappingCount count_mappings(const std::filesystem::path& root);

// Cores that any thread of this process may run on, ascending. A single thread's mask would not do:
// it may be pinned already.
std::vector<std::uint32_t> process_cores();

}  // namespace kvrm
