// The implementations of decode attention, by target. kernels/dispatch chooses among them; nothing
// else needs this header but tests. A SIMD namespace may be entered only on a CPU that has the
// target.
#pragma once

#include "harness/device/device.h"

namespace kvrm {

struct AttentionKernels {
  Kernel attention;  // AttentionArgs
  Kernel merge;      // AttentionMergeArgs
};

namespace reference {
const AttentionKernels& attention_kernels();
}  // namespace reference
namespace N_SSE4 {
const AttentionKernels& attention_kernels();
}  // namespace N_SSE4
namespace N_AVX2 {
const AttentionKernels& attention_kernels();
}  // namespace N_AVX2
namespace N_AVX3 {
const AttentionKernels& attention_kernels();
// The same with the CPU's dot products of bf16 where KV is bf16 (cpu_runs_avx512_bf16()).
const AttentionKernels& attention_bf16_kernels();
}  // namespace N_AVX3

}  // namespace kvrm
