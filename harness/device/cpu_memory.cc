#include "harness/device/cpu_memory.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "harness/base/check.h"
#include "harness/base/units.h"
#include "harness/device/cpu_device.h"

namespace kvrm {
namespace {

constexpr std::size_t kHugePage = 2 * kMiB;
// Left to the rest of the process when the machine itself is the limit.
constexpr std::uint64_t kHeadroom = 64 * kMiB;

constexpr std::array<std::string_view, kMemoryPurposes> kPurposeNames = {
    "KV pool", "KV view", "weights", "activations", "metadata", "graphs"};

bool holds_kv(MemoryPurpose purpose) {
  return purpose == MemoryPurpose::kv_pool || purpose == MemoryPurpose::kv_view;
}

// Maps `bytes` (a multiple of `alignment`) at a multiple of `alignment`: takes more and gives the
// ends back.
std::byte* map_aligned(std::size_t bytes, std::size_t alignment) {
  const std::size_t taken = bytes + alignment - kBasePageBytes;
  void* memory = mmap(nullptr, taken, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t aligned = round_up(start, alignment);
  if (aligned > start) munmap(memory, aligned - start);
  auto* data = reinterpret_cast<std::byte*>(aligned);
  const std::size_t tail = start + taken - (aligned + bytes);
  if (tail > 0) munmap(data + bytes, tail);
  return data;
}

// Brings every page in. MADV_POPULATE_WRITE reports a failure where a plain write would be killed.
bool populate(std::byte* data, std::size_t bytes) {
  if (madvise(data, bytes, MADV_POPULATE_WRITE) == 0) return true;
  if (errno != EINVAL) return false;
  // A kernel before 5.14: write to each page.
  for (std::size_t offset = 0; offset < bytes; offset += kBasePageBytes) {
    *reinterpret_cast<volatile std::byte*>(data + offset) = std::byte{0};
  }
  return true;
}

// As populate(), of a file: before 5.14 the file's pages are made first, since a write to a page
// that cannot be made is a bus error.
bool populate_shared(int file, std::byte* data, std::size_t bytes) {
  if (madvise(data, bytes, MADV_POPULATE_WRITE) == 0) return true;
  if (errno != EINVAL) return false;
  return fallocate(file, 0, 0, static_cast<off_t>(bytes)) == 0 && populate(data, bytes);
}

tl::unexpected<Error> failed_call(std::string_view call, std::size_t bytes) {
  return fail(ExitCode::incomplete, fmt::format("{} of {} for a pool that can be mapped: {}", call,
                                                format_bytes(bytes), std::strerror(errno)));
}

tl::unexpected<Error> out_of_memory(MemoryPurpose purpose, std::size_t bytes,
                                    std::string_view why) {
  return fail(ExitCode::incomplete,
              fmt::format("out of memory: {} for {}: {}", format_bytes(bytes),
                          kPurposeNames[static_cast<std::size_t>(purpose)], why));
}

}  // namespace

Status CpuMemory::check_room(MemoryPurpose purpose, std::size_t bytes) const {
  if (limit_bytes_ != 0) {
    const std::uint64_t room = limit_bytes_ - std::min(limit_bytes_, used_bytes_);
    if (bytes <= room) return {};
    return out_of_memory(purpose, bytes,
                         fmt::format("{} of the limit of {} are in use", format_bytes(used_bytes_),
                                     format_bytes(limit_bytes_)));
  }
  const std::uint64_t available = available_memory_bytes();
  if (bytes <= available - std::min(available, kHeadroom)) return {};
  return out_of_memory(purpose, bytes,
                       fmt::format("this process may still take {}", format_bytes(available)));
}

Result<std::byte*> CpuMemory::allocate(const AllocationSpec& spec) {
  if (spec.bytes == 0) return nullptr;
  if (auto room = check_room(spec.purpose, spec.bytes); !room) {
    return tl::unexpected<Error>(room.error());
  }
  const bool huge = holds_kv(spec.purpose) && spec.pages == MemoryPages::preferred;
  const std::size_t page = huge ? kHugePage : kBasePageBytes;
  const std::size_t mapped = round_up(spec.bytes, page);
  std::byte* data = map_aligned(mapped, page);
  if (data == nullptr) return out_of_memory(spec.purpose, spec.bytes, std::strerror(errno));
  // Only requests: without transparent huge pages the memory is the same, only slower, and all of
  // it is on base pages anyway.
  if (huge) madvise(data, mapped, MADV_HUGEPAGE);
  if (spec.pages == MemoryPages::base) madvise(data, mapped, MADV_NOHUGEPAGE);
  if (!populate(data, mapped)) {
    const int error = errno;
    munmap(data, mapped);
    return out_of_memory(spec.purpose, spec.bytes, std::strerror(error));
  }
  enter(data, {.purpose = spec.purpose, .bytes = spec.bytes, .mapped = mapped});
  return data;
}

Result<std::byte*> CpuMemory::allocate_shared(MemoryPurpose purpose, std::size_t bytes) {
  if (bytes == 0) return nullptr;
  if (auto room = check_room(purpose, bytes); !room) return tl::unexpected<Error>(room.error());
  const std::size_t mapped = round_up(bytes, kBasePageBytes);
  const int file = memfd_create("kvrm pool", MFD_CLOEXEC);
  if (file < 0) return failed_call("memfd_create", bytes);
  if (ftruncate(file, static_cast<off_t>(mapped)) != 0) {
    const auto error = failed_call("ftruncate", bytes);
    close(file);
    return error;
  }
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) {
    const auto error = failed_call("mmap", bytes);
    close(file);
    return error;
  }
  auto* data = static_cast<std::byte*>(memory);
  // The system may be set to give files in memory huge pages unasked.
  madvise(data, mapped, MADV_NOHUGEPAGE);
  if (!populate_shared(file, data, mapped)) {
    const int error = errno;
    munmap(data, mapped);
    close(file);
    return out_of_memory(purpose, bytes, std::strerror(error));
  }
  enter(data, {.purpose = purpose, .bytes = bytes, .mapped = mapped, .file = file});
  return data;
}

void CpuMemory::enter(std::byte* data, const Allocation& allocation) {
  allocations_[data] = allocation;
  live_ranges_.add(data, allocation.bytes);
  used_bytes_ += allocation.bytes;
  const auto index = static_cast<std::size_t>(allocation.purpose);
  account_.bytes[index] += allocation.bytes;
  account_.peak[index] = std::max(account_.peak[index], account_.bytes[index]);
}

void CpuMemory::free(std::byte* data) {
  if (data == nullptr) return;
  const auto found = allocations_.find(data);
  KVRM_CHECK(found != allocations_.end());
  const Allocation allocation = found->second;
  allocations_.erase(found);
  live_ranges_.remove(data);
  KVRM_CHECK_EQ(munmap(data, allocation.mapped), 0);
  if (allocation.file != kNoFile) close(allocation.file);
  used_bytes_ -= allocation.bytes;
  account_.bytes[static_cast<std::size_t>(allocation.purpose)] -= allocation.bytes;
}

int CpuMemory::shared_file(const std::byte* data) const {
  const auto found = allocations_.find(data);
  KVRM_CHECK(found != allocations_.end());
  KVRM_CHECK_LE(0, found->second.file);
  return found->second.file;
}

}  // namespace kvrm
