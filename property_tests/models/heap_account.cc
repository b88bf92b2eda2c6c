#include "property_tests/models/heap_account.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace kvrm::soak {
namespace {

std::atomic<std::size_t> bytes_in_use = 0;

}  // namespace

std::size_t heap_bytes() { return bytes_in_use; }

#ifndef KVRM_SANITIZED

namespace {

void* note_taken(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  bytes_in_use += malloc_usable_size(memory);
  return memory;
}

void give_back(void* memory) {
  bytes_in_use -= malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace
}  // namespace kvrm::soak

// All other forms forward to these.
void* operator new(std::size_t size) {
  return kvrm::soak::note_taken(std::malloc(size == 0 ? 1 : size));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto align = static_cast<std::size_t>(alignment);
  return kvrm::soak::note_taken(std::aligned_alloc(align, (size + align - 1) / align * align));
}
void operator delete(void* memory) noexcept { kvrm::soak::give_back(memory); }
void operator delete(void* memory, std::size_t) noexcept { kvrm::soak::give_back(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { kvrm::soak::give_back(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  kvrm::soak::give_back(memory);
}

namespace kvrm::soak {
#endif

}  // namespace kvrm::soak
