// Which of the SIMD targets this CPU runs. Every SIMD source is compiled once for each of them
// (Highway's foreach_target) into the namespaces N_SSE4, N_AVX2 and N_AVX3, and what Highway does
// not have is a source with intrinsics beside it; no process-wide state chooses between them, the
// list in kernels/dispatch does.
#pragma once

namespace kvrm {

bool cpu_runs_sse4();
bool cpu_runs_avx2();         // with FMA and F16C
bool cpu_runs_avx512();       // F, BW, CD, DQ and VL; Highway calls it AVX3
bool cpu_runs_avx512_bf16();  // that and BF16

}  // namespace kvrm
