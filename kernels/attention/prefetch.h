// Prefetches of attention, in two steps: a tile that is some tiles ahead comes from memory into the
// second-level cache, which has room for more requests in flight than the first, and lines shortly
// before their use come from there. Both are spread, one line for each line consumed: a burst of
// prefetches gains almost nothing (docs/performance.md).
#pragma once

#include <cstddef>

namespace kvrm {

inline constexpr std::size_t kCacheLine = 64;
// Values lie behind the keys of their head and the next head behind them, so what comes next mostly
// lies next.
inline constexpr std::size_t kNearBytes = 2048;

// Must be inlined: g++ takes a function that only prefetches for one without effects and drops its
// calls. The addresses need not exist.
template <std::size_t Bytes>
[[gnu::always_inline]] inline void prefetch_ahead(const std::byte* first) {
  for (std::size_t at = 0; at < Bytes; at += kCacheLine) __builtin_prefetch(first + at, 0, 2);
}
template <std::size_t Bytes>
[[gnu::always_inline]] inline void prefetch_near(const std::byte* consumed) {
  for (std::size_t at = 0; at < Bytes; at += kCacheLine) {
    __builtin_prefetch(consumed + kNearBytes + at, 0, 3);
  }
}

}  // namespace kvrm
