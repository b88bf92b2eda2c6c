// What PackedLinear holds, for the kernels of this folder only: it brings in oneDNN.
#pragma once

#include <dnnl.hpp>
#include <vector>

#include "kernels/linear/linear.h"

namespace kvrm {

// Columns [first, first + width) of the outputs: packed weights and the primitive that multiplies
// one row tile by them. Executing a primitive is thread-safe, as its scratchpad is the caller's.
struct LinearPanel {
  std::uint32_t first = 0;
  std::uint32_t width = 0;
  dnnl::matmul primitive;
  dnnl::memory weights;
  dnnl::memory::desc x_desc;        // [kRowTile, inputs], dense
  dnnl::memory::desc y_desc;        // [kRowTile, width], dense
  dnnl::memory::desc scratch_desc;  // the primitive's own
};

struct PackedLinear::State {
  std::uint32_t inputs = 0;
  std::uint32_t outputs = 0;
  DType dtype = DType::f32;
  bool bf16_product = false;       // x and packed weights are bf16; otherwise f32
  std::span<const float> weights;  // [outputs, inputs], the caller's
  dnnl::engine engine;
  std::vector<LinearPanel> panels;
};

}  // namespace kvrm
