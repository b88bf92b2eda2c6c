// Zeroed, page-backed memory of the CPU backend, accounted by purpose and bounded by a limit. Pages
// are touched at allocation, so that running out is an error here and never a crash or a page fault
// in a timed step. Not thread-safe: one thread allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "harness/base/result.h"
#include "harness/device/device.h"
#include "harness/device/live_ranges.h"

namespace kvrm {

inline constexpr std::size_t kBasePageBytes = 4096;

class CpuMemory {
 public:
  // limit_bytes 0: what the machine has free at each allocation.
  explicit CpuMemory(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  // Aligned to a page, or to 2 MiB and on huge pages where possible for KV on preferred pages. Zero
  // bytes give null.
  Result<std::byte*> allocate(const AllocationSpec& spec);
  // On base pages of a file in memory, so that they can be mapped again elsewhere.
  Result<std::byte*> allocate_shared(MemoryPurpose purpose, std::size_t bytes);
  void free(std::byte* data);
  // The file behind memory of allocate_shared().
  int shared_file(const std::byte* data) const;

  const MemoryAccount& account() const { return account_; }
  LiveRanges& live_ranges() { return live_ranges_; }
  const LiveRanges& live_ranges() const { return live_ranges_; }

 private:
  static constexpr int kNoFile = -1;

  struct Allocation {
    MemoryPurpose purpose = MemoryPurpose::metadata;
    std::size_t bytes = 0;   // asked for and accounted
    std::size_t mapped = 0;  // whole pages
    int file = kNoFile;
  };

  Status check_room(MemoryPurpose purpose, std::size_t bytes) const;
  void enter(std::byte* data, const Allocation& allocation);

  std::uint64_t limit_bytes_;
  std::uint64_t used_bytes_ = 0;
  MemoryAccount account_;
  std::map<const std::byte*, Allocation> allocations_;
  LiveRanges live_ranges_;
};

}  // namespace kvrm
