#include "engines/bench/matmul_peak.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <dnnl.hpp>
#include <optional>
#include <vector>

namespace kvrm {
namespace {

using Memory = dnnl::memory;
using Product = dnnl::matmul::primitive_desc;

constexpr std::uint32_t kProductsOfAWorker = 2;

std::optional<Product> make_product(const dnnl::engine& engine, std::int64_t size,
                                    Memory::data_type type) {
  const Memory::desc x({size, size}, type, Memory::format_tag::ab);
  const Memory::desc weights({size, size}, type, Memory::format_tag::any);
  const Memory::desc y({size, size}, Memory::data_type::f32, Memory::format_tag::ab);
  // oneDNN's own scratchpads belong to the thread that made the product; others run it here.
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  try {
    return Product(dnnl::matmul::desc(x, weights, y), attributes, engine);
  } catch (const dnnl::error&) {
    return std::nullopt;
  }
}

// Row i of x is i % 7, row i of the weights is i % 5: a product's element is the row of x times a
// sum, and no rounding anywhere.
Memory filled(const dnnl::engine& engine, const Memory::desc& desc, std::uint32_t modulus) {
  const Memory::dims dims = desc.dims();
  const auto rows = static_cast<std::size_t>(dims[0]);
  const auto columns = static_cast<std::size_t>(dims[1]);
  std::vector<float> values(rows * columns);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i / columns % modulus);
  }
  Memory plain({dims, Memory::data_type::f32, Memory::format_tag::ab}, engine, values.data());
  Memory result(desc, engine);
  dnnl::stream stream(engine);
  dnnl::reorder(plain, result).execute(stream, plain, result);
  stream.wait();
  return result;
}

}  // namespace

struct MatmulPeak::State {
  Device* device = nullptr;
  std::uint32_t size = 0;
  dnnl::engine engine;
  dnnl::matmul product;
  Memory x;
  Memory weights;
  std::vector<Memory> y;  // of each product
  std::vector<Memory> scratchpads;
};

MatmulPeak::MatmulPeak(Device& device, std::uint32_t size, DType dtype)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.device = &device;
  state.size = size;
  state.engine = dnnl::engine(dnnl::engine::kind::cpu, 0);
  // A team of OpenMP threads would spin on the workers' cores.
  const int threads_before = omp_get_max_threads();
  omp_set_num_threads(1);
  std::optional<Product> product;
  if (dtype == DType::bf16) product = make_product(state.engine, size, Memory::data_type::bf16);
  if (!product) product = make_product(state.engine, size, Memory::data_type::f32);
  state.product = dnnl::matmul(*product);
  state.x = filled(state.engine, product->src_desc(), 7);
  state.weights = filled(state.engine, product->weights_desc(), 5);
  for (std::uint32_t i = 0; i < kProductsOfAWorker * device.info().workers; ++i) {
    state.y.emplace_back(product->dst_desc(), state.engine);
    state.scratchpads.emplace_back(product->scratchpad_desc(), state.engine);
  }
  omp_set_num_threads(threads_before);
}

MatmulPeak::~MatmulPeak() = default;

Nanoseconds MatmulPeak::measure() {
  struct Args {
    const State* state = nullptr;
  };
  static constexpr auto multiply = [](const void* raw_args, std::uint32_t item, WorkerContext&) {
    const State& state = *static_cast<const Args*>(raw_args)->state;
    omp_set_num_threads(1);
    dnnl::stream stream(state.engine);
    state.product.execute(stream, {{DNNL_ARG_SRC, state.x},
                                   {DNNL_ARG_WEIGHTS, state.weights},
                                   {DNNL_ARG_DST, state.y[item]},
                                   {DNNL_ARG_SCRATCHPAD, state.scratchpads[item]}});
    stream.wait();
  };
  static constexpr Kernel kKernel{"bench/matmul", multiply};
  const Args args{state_.get()};
  const Op op{&kKernel, &args, sizeof(args), static_cast<std::uint32_t>(state_->y.size())};
  Device& device = *state_->device;
  const Nanoseconds start = device.clock().now();
  device.launch(op);
  device.wait();
  return std::max<Nanoseconds>(1, device.clock().now() - start);
}

std::uint64_t MatmulPeak::operations() const {
  const std::uint64_t size = state_->size;
  return 2 * size * size * size * state_->y.size();
}

double MatmulPeak::error() const {
  double sum = 0;
  for (std::uint32_t i = 0; i < state_->size; ++i) sum += i % 5;
  double worst = 0;
  for (const Memory& product : state_->y) {
    const auto* values = static_cast<const float*>(product.get_data_handle());
    for (std::size_t i = 0; i < std::size_t{state_->size} * state_->size; ++i) {
      worst =
          std::max(worst, std::fabs(values[i] - sum * static_cast<double>(i / state_->size % 7)));
    }
  }
  return worst;
}

}  // namespace kvrm
