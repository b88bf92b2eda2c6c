// Copies of spans of KV bytes on the best target that the CPU has. The bytes do not depend on the
// loop or the target, so nothing needs to choose a target. The kernels of the transports copy with
// these, and so does the bench's probe of their limit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvrm {

enum class CopyLoop : std::uint32_t {
  memcpy,
  streaming  // stores go past the caches, and lines of the source are asked for ahead
};

// The faster loop for one launch, all of its items together, where what it copies is read next.
CopyLoop copy_loop_of(std::uint64_t launch_bytes);

// Any size and alignment. Source and destination do not overlap.
struct ByteCopy {
  const std::byte* source = nullptr;
  std::byte* destination = nullptr;
  std::size_t bytes = 0;
  const std::byte* next = nullptr;  // where the copy after this one reads; nullptr: not known
};

// The copies of one item of a launch, one after the other. They can be relied on, by this thread
// and by others, only once it is gone.
class ItemCopies {
 public:
  explicit ItemCopies(CopyLoop loop) : loop_(loop) {}
  ~ItemCopies();
  ItemCopies(const ItemCopies&) = delete;
  ItemCopies& operator=(const ItemCopies&) = delete;

  void add(const ByteCopy& copy) const;

 private:
  CopyLoop loop_;
};

}  // namespace kvrm
