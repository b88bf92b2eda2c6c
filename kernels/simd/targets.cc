#include "kernels/simd/targets.h"

#include <hwy/highway.h>

namespace kvrm {

static_assert(HWY_TARGETS == (HWY_SSE4 | HWY_AVX2 | HWY_AVX3));

bool cpu_runs_sse4() { return (hwy::SupportedTargets() & HWY_SSE4) != 0; }
bool cpu_runs_avx2() { return (hwy::SupportedTargets() & HWY_AVX2) != 0; }
bool cpu_runs_avx512() { return (hwy::SupportedTargets() & HWY_AVX3) != 0; }

}  // namespace kvrm
