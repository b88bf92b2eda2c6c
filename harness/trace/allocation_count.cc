#include "harness/trace/allocation_count.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace kvrm {
namespace {

std::atomic<std::uint64_t> allocations = 0;

}  // namespace

std::uint64_t allocation_count() { return allocations; }

#ifndef KVRM_SANITIZED

namespace {

void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  ++allocations;
  return memory;
}

}  // namespace
}  // namespace kvrm

// All other forms forward to these.
void* operator new(std::size_t size) { return kvrm::counted(std::malloc(size == 0 ? 1 : size)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto align = static_cast<std::size_t>(alignment);
  return kvrm::counted(std::aligned_alloc(align, (size + align - 1) / align * align));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }

namespace kvrm {
#endif

}  // namespace kvrm
