#include "harness/device/cpu_page_mapper.h"

#include <fmt/core.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "harness/base/check.h"
#include "harness/base/units.h"
#include "harness/device/machine_limits.h"

namespace kvrm {
namespace {

tl::unexpected<Error> failed_mmap(std::string_view what, std::size_t bytes) {
  return fail(ExitCode::incomplete,
              fmt::format("mmap of {} {}: {}", format_bytes(bytes), what, std::strerror(errno)));
}

// Pages of zeros at `place`, or anywhere: private memory that nobody can write to is the system's
// one page of zeros wherever it is read. PROT_NONE would do for addresses alone, but kernels read
// whole tiles, the tail of which may lie past the last block, and then mask it.
void* map_zeros(std::byte* place, std::size_t bytes) {
  const int fixed = place == nullptr ? 0 : MAP_FIXED;
  return mmap(place, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
}

}  // namespace

Result<Buffer> CpuPageMapper::do_allocate_pool(std::size_t bytes) {
  return memory_.allocate_shared(MemoryPurpose::kv_pool, bytes).map([&](std::byte* data) {
    return Buffer(device_, data, bytes, MemoryPurpose::kv_pool);
  });
}

Result<MappedView> CpuPageMapper::do_reserve_view(std::size_t bytes) {
  KVRM_CHECK_LT(0U, bytes);
  KVRM_CHECK_EQ(bytes % kBasePageBytes, 0U);
  void* data = map_zeros(nullptr, bytes);
  if (data == MAP_FAILED) return failed_mmap("of address space for a view", bytes);
  memory_.live_ranges().add(data, bytes);
  return MappedView(*this, static_cast<std::byte*>(data), bytes);
}

Status CpuPageMapper::do_check_spans(std::uint64_t spans) const {
  const MappingCount now = count_mappings("/");
  const std::uint64_t most = max_mappings_ != 0 ? max_mappings_ : now.most;
  // The rest of the process maps and unmaps too, and a span in the middle of another splits it.
  const std::uint64_t kept = most / 16;
  if (spans <= most && now.used + kept <= most - spans) return {};
  return fail(ExitCode::incomplete,
              fmt::format("{} separate mappings are needed; this process has {} of at most {} "
                          "(/proc/sys/vm/max_map_count), of which {} are kept free",
                          spans, now.used, most, kept));
}

// MAP_POPULATE costs about 0.5 us a page here and saves a fault of 1.2 us in the step that reads
// it, and a step reads all that it has mapped.
Status CpuPageMapper::do_map(std::byte* place, const Buffer& pool, const MapSpan& span) {
  const int file = memory_.shared_file(pool.data());
  ++counters_.calls;
  if (mmap(place, span.bytes, PROT_READ, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file,
           static_cast<off_t>(span.pool_offset)) == MAP_FAILED) {
    auto error = failed_mmap("of a pool into a view", span.bytes);
    map_zeros(place, span.bytes);  // what was there may be gone, and a hole must not be left
    return error;
  }
  counters_.bytes += span.bytes;
  return {};
}

Status CpuPageMapper::do_unmap(std::byte* place, std::size_t bytes) {
  ++counters_.calls;
  if (map_zeros(place, bytes) == MAP_FAILED) return failed_mmap("of zeros into a view", bytes);
  return {};
}

void CpuPageMapper::do_release_view(std::byte* data, std::size_t bytes) {
  memory_.live_ranges().remove(data);
  KVRM_CHECK_EQ(munmap(data, bytes), 0);
}

}  // namespace kvrm
