#include <algorithm>

#include "kernels/linear/linear_detail.h"
#include "kernels/linear/linear_kernels.h"

namespace kvrm {
namespace {

// For bf16 weights x is rounded to bf16 too, as the fast product does.
float dot(const PackedLinear::State& state, const float* x, const float* weights) {
  float sum = 0;
  for (std::uint32_t i = 0; i < state.inputs; ++i) sum += round_to(state.dtype, x[i]) * weights[i];
  return sum;
}

void linear(const void* raw_args, std::uint32_t item, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const LinearArgs*>(raw_args);
  const PackedLinear::State& state = args.weights->state();
  const std::uint32_t row_tiles = linear_row_tiles(args.rows);
  const LinearPanel& panel = state.panels[item / row_tiles];
  const std::uint32_t first_row = item % row_tiles * kRowTile;
  const std::uint32_t last_row = std::min(first_row + kRowTile, args.rows);
  for (std::uint32_t row = first_row; row < last_row; ++row) {
    const float* x = args.x + std::size_t{row} * args.x_stride;
    float* y = args.y + std::size_t{row} * args.y_stride;
    for (std::uint32_t i = panel.first; i < panel.first + panel.width; ++i) {
      y[i] = dot(state, x, state.weights.data() + std::size_t{i} * state.inputs);
    }
  }
}

constexpr Kernel kKernel = {"linear/reference", linear};

}  // namespace

const Kernel& linear_reference() { return kKernel; }

}  // namespace kvrm
