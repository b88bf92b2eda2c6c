// Which addresses belong to a device now: its buffers and views, by their first address. Knows
// nothing of what is in them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

namespace kvrm {

class LiveRanges {
 public:
  struct Range {
    std::uintptr_t begin = 0;
    std::size_t bytes = 0;
  };

  void add(const void* begin, std::size_t bytes) {
    ranges_[reinterpret_cast<std::uintptr_t>(begin)] = bytes;
  }
  void remove(const void* begin) { ranges_.erase(reinterpret_cast<std::uintptr_t>(begin)); }
  // The range that holds the address.
  std::optional<Range> find(std::uintptr_t address) const {
    auto after = ranges_.upper_bound(address);
    if (after == ranges_.begin()) return std::nullopt;
    const auto& [begin, bytes] = *--after;
    if (address - begin >= bytes) return std::nullopt;
    return Range{begin, bytes};
  }

 private:
  std::map<std::uintptr_t, std::size_t> ranges_;
};

}  // namespace kvrm
