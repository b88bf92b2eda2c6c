// What PackedLinear holds, for the kernels of this folder only: it brings in oneDNN.
#pragma once

#include <cstdlib>
#include <dnnl.hpp>
#include <memory>
#include <span>
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

using PackedBytes = std::unique_ptr<std::byte, void (*)(void*)>;

struct PackedLinear::State {
  std::uint32_t inputs = 0;
  std::uint32_t outputs = 0;
  DType dtype = DType::f32;
  bool bf16_product = false;       // x and packed weights are bf16; otherwise f32
  std::span<const float> weights;  // [outputs, inputs], the caller's
  dnnl::engine engine;
  PackedBytes packed{nullptr, &std::free};  // all panels' weights
  std::vector<LinearPanel> panels;

  bool rounds_input() const { return dtype == DType::bf16; }
};

// One row of x as the product multiplies it, where rounds_input().
void round_input_row(const PackedLinear::State& state, const float* x, std::byte* prepared);

}  // namespace kvrm
