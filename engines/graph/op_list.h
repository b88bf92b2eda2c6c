// A list of operations with its arguments at stable addresses: what an engine launches one by one
// or records as a graph.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "harness/device/device.h"

namespace kvrm {

class OpList {
 public:
  // Copies the arguments; they stay put until clear(). Padding bytes become zero where the compiler
  // can do that, so that a launch hash depends on values only.
  template <class Args>
  void add(const Kernel* kernel, Args args, std::uint32_t items) {
    static_assert(std::is_trivially_copyable_v<Args>);
#if __has_builtin(__builtin_clear_padding)
    __builtin_clear_padding(&args);
#endif
    add_bytes(kernel, &args, sizeof(Args), items);
  }
  std::span<const Op> ops() const { return ops_; }
  // Host memory held, for the graph's account.
  std::size_t bytes() const;
  void clear();

 private:
  void add_bytes(const Kernel* kernel, const void* args, std::size_t bytes, std::uint32_t items);

  std::vector<Op> ops_;
  std::vector<std::unique_ptr<std::byte[]>>
      chunks_;  // kept over clear(), so that eager steps do not allocate
  std::size_t chunk_ = 0;
  std::size_t used_ = 0;
};

}  // namespace kvrm
