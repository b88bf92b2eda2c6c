#include <omp.h>

#include <cstring>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "kernels/linear/linear_detail.h"
#include "kernels/linear/linear_kernels.h"
#include "kernels/simd/round.h"

namespace kvrm {
namespace {

// Where one item works in its worker's scratch: x tile, y tile, the primitive's scratchpad.
struct ItemScratch {
  std::byte* x = nullptr;
  float* y = nullptr;
  std::byte* primitive = nullptr;
};

ItemScratch divide_scratch(const LinearPanel& panel, std::span<std::byte> scratch) {
  constexpr std::size_t kCacheLine = 64;
  const std::size_t y_place = round_up(panel.x_desc.get_size(), kCacheLine);
  const std::size_t primitive_place = y_place + round_up(panel.y_desc.get_size(), kCacheLine);
  KVRM_CHECK_LE(primitive_place + panel.scratch_desc.get_size(), scratch.size());
  return {scratch.data(), reinterpret_cast<float*>(scratch.data() + y_place),
          scratch.data() + primitive_place};
}

// The x tile as the primitive wants it: dense, and of the weights' values. Dense f32 rows are used
// where they lie.
void* prepare_x(const LinearArgs& args, std::size_t first_row, std::byte* tile) {
  const PackedLinear::State& state = args.weights->state();
  const std::uint32_t prepared_bytes = args.weights->prepared_row_bytes();
  if (args.prepared != nullptr) {
    return const_cast<std::byte*>(args.prepared) +
           KVRM_MUTATE(linear_multiplies_first_tile, first_row, std::size_t{0}) * prepared_bytes;
  }
  const float* x = args.x + first_row * args.x_stride;
  if (!state.rounds_input() && args.x_stride == state.inputs) return const_cast<float*>(x);
  for (std::uint32_t row = 0; row < kRowTile; ++row, x += args.x_stride) {
    if (state.rounds_input()) {
      round_input_row(state, x, tile + std::size_t{row} * prepared_bytes);
    } else {
      std::memcpy(tile + row * state.inputs * sizeof(float), x, state.inputs * sizeof(float));
    }
  }
  return tile;
}

void multiply(const PackedLinear::State& state, const LinearPanel& panel, void* x,
              const ItemScratch& scratch) {
  // The number of OpenMP threads belongs to the calling thread; a team of several would change the
  // summation and fight our own workers.
  omp_set_num_threads(1);
  dnnl::stream stream(state.engine);
  panel.primitive.execute(
      stream,
      {{DNNL_ARG_SRC, dnnl::memory(panel.x_desc, state.engine, x)},
       {DNNL_ARG_WEIGHTS, panel.weights},
       {DNNL_ARG_DST, dnnl::memory(panel.y_desc, state.engine, scratch.y)},
       {DNNL_ARG_SCRATCHPAD, dnnl::memory(panel.scratch_desc, state.engine, scratch.primitive)}});
  stream.wait();
}

void linear(const void* raw_args, std::uint32_t item, WorkerContext& worker) {
  const auto& args = *static_cast<const LinearArgs*>(raw_args);
  const PackedLinear::State& state = args.weights->state();
  const std::uint32_t row_tiles = linear_row_tiles(args.rows);
  const LinearPanel& panel = state.panels[item / row_tiles];
  const std::size_t first_row = std::size_t{item % row_tiles} * kRowTile;
  const ItemScratch scratch = divide_scratch(panel, worker.scratch);
  void* x = prepare_x(args, first_row, scratch.x);
  multiply(state, panel, x, scratch);
  for (std::uint32_t row = 0; row < kRowTile; ++row) {
    std::memcpy(args.y + (first_row + row) * args.y_stride + panel.first,
                scratch.y + std::size_t{row} * panel.width, panel.width * sizeof(float));
  }
}

void linear_input(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const LinearInputArgs*>(raw_args);
  round_input_row(args.weights->state(), args.x + std::size_t{row} * args.x_stride,
                  args.prepared + std::size_t{row} * args.weights->prepared_row_bytes());
}

constexpr Kernel kKernel = {"linear/onednn", linear};
constexpr Kernel kInputKernel = {"linear_input/common", linear_input};

}  // namespace

void round_input_row(const PackedLinear::State& state, const float* x, std::byte* prepared) {
  if (state.bf16_product) {
    round_row_to_bf16(x, state.inputs, reinterpret_cast<std::uint16_t*>(prepared));
  } else {
    round_row_to_bf16(x, state.inputs, reinterpret_cast<float*>(prepared));
  }
}

const Kernel& linear_input_kernel() { return kInputKernel; }
const Kernel& linear_onednn() { return kKernel; }

}  // namespace kvrm
