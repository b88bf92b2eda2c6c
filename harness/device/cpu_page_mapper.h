// The CPU backend's page mapper: pools are files in memory (memfd), views are mappings of pieces of
// them. Costs are those of mmap, about 10 to 20 us for 16 pages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/device/cpu_memory.h"
#include "harness/device/page_mapper.h"

namespace kvrm {

class CpuPageMapper final : public PageMapper {
 public:
  // max_mappings 0: the system's limit on mappings of one process.
  CpuPageMapper(Device& device, CpuMemory& memory, std::uint64_t max_mappings)
      : device_(device), memory_(memory), max_mappings_(max_mappings) {}

 private:
  std::size_t do_page_bytes() const override { return kBasePageBytes; }
  Result<Buffer> do_allocate_pool(std::size_t bytes) override;
  Result<MappedView> do_reserve_view(std::size_t bytes) override;
  Status do_check_spans(std::uint64_t spans) const override;
  MapCounters do_counters() const override { return counters_; }
  Status do_map(std::byte* place, const Buffer& pool, const MapSpan& span) override;
  Status do_unmap(std::byte* place, std::size_t bytes) override;
  void do_release_view(std::byte* data, std::size_t bytes) override;

  Device& device_;
  CpuMemory& memory_;
  std::uint64_t max_mappings_;
  MapCounters counters_;
};

}  // namespace kvrm
