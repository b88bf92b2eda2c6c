// Zeroed, page-backed memory of the CPU backend, accounted by purpose and bounded by a limit. Pages
// are touched at allocation, so that running out is an error here and never a crash or a page fault
// in a timed step. Not thread-safe: one thread allocates.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/base/result.h"
#include "harness/device/device.h"

namespace kvrm {

class CpuMemory {
 public:
  // limit_bytes 0: what the machine has free at each allocation.
  explicit CpuMemory(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  // Aligned to a page, or to 2 MiB and on huge pages where possible for KV. Zero bytes give null.
  Result<std::byte*> allocate(MemoryPurpose purpose, std::size_t bytes);
  void free(std::byte* data, std::size_t bytes, MemoryPurpose purpose);

  const MemoryAccount& account() const { return account_; }

 private:
  Status check_room(MemoryPurpose purpose, std::size_t bytes) const;

  std::uint64_t limit_bytes_;
  std::uint64_t used_bytes_ = 0;
  MemoryAccount account_;
};

}  // namespace kvrm
