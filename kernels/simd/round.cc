#include "kernels/simd/round.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/round.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "kernels/simd/convert-inl.h"
#include "kernels/simd/targets.h"

#if HWY_ONCE
namespace kvrm {
namespace {

template <class T>
void round_row(const float* source, std::size_t count, T* rounded) {
  if (cpu_runs_avx512()) return N_AVX3::round_to_bf16(source, count, rounded);
  if (cpu_runs_avx2()) return N_AVX2::round_to_bf16(source, count, rounded);
  if (cpu_runs_sse4()) return N_SSE4::round_to_bf16(source, count, rounded);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint16_t bits = float_to_bf16(source[i]);
    if constexpr (sizeof(T) == sizeof(bits)) {
      rounded[i] = bits;
    } else {
      rounded[i] = bf16_to_float(bits);
    }
  }
}

}  // namespace

void round_row_to_bf16(const float* source, std::size_t count, std::uint16_t* rounded) {
  round_row(source, count, rounded);
}

void round_row_to_bf16(const float* source, std::size_t count, float* rounded) {
  round_row(source, count, rounded);
}

}  // namespace kvrm
#endif  // HWY_ONCE
