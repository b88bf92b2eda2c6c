// Units: time is signed nanoseconds, memory is unsigned bytes; helpers print them for people.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace kvrm {

using Nanoseconds = std::int64_t;

inline constexpr std::size_t kKiB = 1024;
inline constexpr std::size_t kMiB = 1024 * kKiB;
inline constexpr std::size_t kGiB = 1024 * kMiB;
inline constexpr Nanoseconds kNanosecondsPerMillisecond = 1'000'000;
inline constexpr Nanoseconds kNanosecondsPerSecond = 1'000'000'000;

constexpr std::uint64_t divide_up(std::uint64_t value, std::uint64_t divisor) {
  return (value + divisor - 1) / divisor;
}
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t multiple) {
  return divide_up(value, multiple) * multiple;
}

// "1.5 MiB", "312 B": three significant digits, binary units.
std::string format_bytes(std::uint64_t bytes);
// "12.3 ms", "870 ns": three significant digits.
std::string format_duration(Nanoseconds duration);

}  // namespace kvrm
