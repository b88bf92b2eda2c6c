#include "kernels/simd/targets.h"

#include <hwy/highway.h>

#include <cstdint>

namespace kvrm {

static_assert(HWY_TARGETS == (HWY_SSE4 | HWY_AVX2 | HWY_AVX3));

namespace {

// Asked once: CPUID takes microseconds in a virtual machine.
bool runs(std::int64_t target) {
  static const std::int64_t supported = hwy::SupportedTargets();
  return (supported & target) != 0;
}

}  // namespace

bool cpu_runs_sse4() { return runs(HWY_SSE4); }
bool cpu_runs_avx2() { return runs(HWY_AVX2); }
bool cpu_runs_avx512() { return runs(HWY_AVX3); }
bool cpu_runs_avx512_bf16() { return cpu_runs_avx512() && __builtin_cpu_supports("avx512bf16"); }

}  // namespace kvrm
