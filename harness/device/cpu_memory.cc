#include "harness/device/cpu_memory.h"

#include <fmt/core.h>
#include <sys/mman.h>

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

constexpr std::size_t kPage = 4 * kKiB;
constexpr std::size_t kHugePage = 2 * kMiB;
// Left to the rest of the process when the machine itself is the limit.
constexpr std::uint64_t kHeadroom = 64 * kMiB;

constexpr std::array<std::string_view, kMemoryPurposes> kPurposeNames = {
    "KV pool", "KV view", "weights", "activations", "metadata", "graphs"};

bool on_huge_pages(MemoryPurpose purpose) {
  return purpose == MemoryPurpose::kv_pool || purpose == MemoryPurpose::kv_view;
}

std::size_t mapped_bytes(MemoryPurpose purpose, std::size_t bytes) {
  return round_up(bytes, on_huge_pages(purpose) ? kHugePage : kPage);
}

// Maps `bytes` (a multiple of `alignment`) at a multiple of `alignment`: takes more and gives the
// ends back.
std::byte* map_aligned(std::size_t bytes, std::size_t alignment) {
  const std::size_t taken = bytes + alignment - kPage;
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
  for (std::size_t offset = 0; offset < bytes; offset += kPage) {
    *reinterpret_cast<volatile std::byte*>(data + offset) = std::byte{0};
  }
  return true;
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

Result<std::byte*> CpuMemory::allocate(MemoryPurpose purpose, std::size_t bytes) {
  if (bytes == 0) return nullptr;
  if (auto room = check_room(purpose, bytes); !room) return tl::unexpected<Error>(room.error());
  const std::size_t mapped = mapped_bytes(purpose, bytes);
  std::byte* data = map_aligned(mapped, on_huge_pages(purpose) ? kHugePage : kPage);
  if (data == nullptr) return out_of_memory(purpose, bytes, std::strerror(errno));
  // Only a request: without transparent huge pages the memory is the same, only slower.
  if (on_huge_pages(purpose)) madvise(data, mapped, MADV_HUGEPAGE);
  if (!populate(data, mapped)) {
    const int error = errno;
    munmap(data, mapped);
    return out_of_memory(purpose, bytes, std::strerror(error));
  }
  used_bytes_ += bytes;
  const auto index = static_cast<std::size_t>(purpose);
  account_.bytes[index] += bytes;
  account_.peak[index] = std::max(account_.peak[index], account_.bytes[index]);
  return data;
}

void CpuMemory::free(std::byte* data, std::size_t bytes, MemoryPurpose purpose) {
  if (bytes == 0) return;
  KVRM_CHECK_EQ(munmap(data, mapped_bytes(purpose, bytes)), 0);
  used_bytes_ -= bytes;
  account_.bytes[static_cast<std::size_t>(purpose)] -= bytes;
}

}  // namespace kvrm
