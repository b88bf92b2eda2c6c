// The implementations of the row-wise kernels, by target. kernels/dispatch chooses among them;
// nothing else needs this header but tests. A SIMD namespace may be entered only on a CPU that has
// the target.
#pragma once

#include "harness/device/device.h"

namespace kvrm {

struct RowwiseKernels {
  Kernel add_norm;  // AddNormArgs
  Kernel rotary;    // RotaryArgs
  Kernel swiglu;    // SwiGluArgs
  Kernel argmax;    // ArgmaxArgs
  Kernel content;   // ContentArgs
};

namespace reference {
const RowwiseKernels& rowwise_kernels();
}  // namespace reference
namespace N_SSE4 {
const RowwiseKernels& rowwise_kernels();
}  // namespace N_SSE4
namespace N_AVX2 {
const RowwiseKernels& rowwise_kernels();
}  // namespace N_AVX2
namespace N_AVX3 {
const RowwiseKernels& rowwise_kernels();
}  // namespace N_AVX3

// A copy and a hash of bytes, the same for every target: EmbeddingArgs, DigestArgs.
const Kernel& embedding_kernel();
const Kernel& digest_kernel();

}  // namespace kvrm
