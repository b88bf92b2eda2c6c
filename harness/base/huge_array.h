// A fixed array of plain values, zero at first, on huge pages where it is large and the system has
// them: for tables so large that random access to them would miss the TLB. Not for device memory.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

namespace kvrm {

// The least row length, in entries, of at least `entries` whose rows take an odd number of cache
// lines: so that the same entry of many rows is not in the same few sets of the caches.
constexpr std::uint32_t spread_stride(std::uint32_t entries, std::uint32_t entry_bytes) {
  const std::uint32_t in_line = 64 / entry_bytes;
  return ((entries + in_line - 1) / in_line | 1U) * in_line;
}

template <class T>
class HugeArray {
 public:
  static_assert(std::is_trivially_copyable_v<T>);

  HugeArray() = default;
  explicit HugeArray(std::size_t count) : count_(count), data_(allocate(count)) {}

  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](std::size_t index) { return data_[index]; }
  const T& operator[](std::size_t index) const { return data_[index]; }

 private:
  struct Free {
    // Of aligned_alloc(). NOLINTNEXTLINE(cppcoreguidelines-no-malloc)
    void operator()(T* memory) const { std::free(memory); }
  };

  static T* allocate(std::size_t count) {
    constexpr std::size_t kHugePage = std::size_t{2} << 20;
    const std::size_t bytes = count * sizeof(T);
    const std::size_t alignment = bytes >= kHugePage ? kHugePage : 64;
    const std::size_t rounded = (bytes + alignment) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, rounded);
    if (memory == nullptr) throw std::bad_alloc();
    // Without huge pages it is slower and no less right.
    if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);
    std::memset(memory, 0, rounded);
    return static_cast<T*>(memory);
  }

  std::size_t count_ = 0;
  std::unique_ptr<T[], Free> data_;
};

}  // namespace kvrm
