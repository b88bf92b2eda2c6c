#include "harness/base/units.h"

#include <array>
#include <cstdio>

namespace kvrm {
namespace {

// Three significant digits without an exponent: 1.50, 12.3, 870.
std::string three_digits(double value) {
  std::array<char, 32> text{};
  const int decimals = value < 10 ? 2 : value < 100 ? 1 : 0;
  std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return text.data();
}

}  // namespace

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < kKiB) return std::to_string(bytes) + " B";
  constexpr std::array<const char*, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes) / static_cast<double>(kKiB);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return three_digits(value) + " " + kUnits[unit];
}

std::string format_duration(Nanoseconds duration) {
  if (duration < 0) return "-" + format_duration(-duration);
  if (duration < 1000) return std::to_string(duration) + " ns";
  const auto value = static_cast<double>(duration);
  if (duration < kNanosecondsPerMillisecond) return three_digits(value / 1e3) + " us";
  if (duration < kNanosecondsPerSecond) return three_digits(value / 1e6) + " ms";
  return three_digits(value / 1e9) + " s";
}

}  // namespace kvrm
