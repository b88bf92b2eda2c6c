// One key or value element as it lies in memory, to and from f32. Rounding is to nearest, ties to
// even, as in harness/base/half.h. Inline, for kernels that go element by element.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "harness/base/half.h"
#include "harness/contract/model.h"

namespace kvrm {

inline void store_element(DType dtype, std::byte* place, float value) {
  if (dtype == DType::f32) {
    std::memcpy(place, &value, sizeof(value));
    return;
  }
  const std::uint16_t bits = dtype == DType::f16 ? float_to_f16(value) : float_to_bf16(value);
  std::memcpy(place, &bits, sizeof(bits));
}

inline float load_element(DType dtype, const std::byte* place) {
  if (dtype == DType::f32) {
    float value = 0;
    std::memcpy(&value, place, sizeof(value));
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, place, sizeof(bits));
  return dtype == DType::f16 ? f16_to_float(bits) : bf16_to_float(bits);
}

}  // namespace kvrm
