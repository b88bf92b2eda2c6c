// 16-bit floating point: conversions by round to nearest, ties to even, the same on every machine.
#pragma once

#include <bit>
#include <cstdint>

namespace kvrm {

// IEEE 754 binary16. Overflow gives infinity; NaN stays NaN; denormals are kept.
std::uint16_t float_to_f16(float value);
float f16_to_float(std::uint16_t bits);

constexpr std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}
constexpr float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace kvrm
