// The implementations of the row-wise kernels, by target. kernels/dispatch chooses among them;
// nothing else needs this header but tests. A SIMD namespace may be entered only on a CPU that has
// the target.
#pragma once

#include "harness/device/device.h"

namespace kvrm {

// Targets share what is a plain copy or hash of bytes ("embedding/common", "digest/common").
struct RowwiseKernels {
  Kernel embedding;  // EmbeddingArgs
  Kernel add_norm;   // AddNormArgs
  Kernel rotary;     // RotaryArgs
  Kernel swiglu;     // SwiGluArgs
  Kernel argmax;     // ArgmaxArgs
  Kernel content;    // ContentArgs
  Kernel digest;     // DigestArgs
};

namespace reference {
const RowwiseKernels& rowwise_kernels();
}  // namespace reference

}  // namespace kvrm
