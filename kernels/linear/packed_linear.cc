#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "harness/base/check.h"
#include "harness/base/units.h"
#include "kernels/linear/linear_detail.h"

namespace kvrm {
namespace {

using Memory = dnnl::memory;

constexpr std::size_t kCacheLine = 64;
constexpr std::uint32_t kPanelAlign = 64;  // columns of a packed panel in oneDNN's own blocking
constexpr std::uint32_t kMinPanelWidth = 128;
constexpr std::uint32_t kMaxPanelWidth = 1024;
constexpr std::uint32_t kWantedPanels = 16;       // enough for workers to share one product evenly
constexpr std::size_t kPanelBytes = 1024 * kKiB;  // stays in a core's own cache, with rows of x

// Depends on the matrix only, so that it is always cut in the same places.
std::uint32_t panel_width(std::uint32_t outputs, std::uint32_t inputs, DType dtype) {
  const auto even =
      static_cast<std::uint32_t>(round_up(divide_up(outputs, kWantedPanels), kPanelAlign));
  const std::size_t fitting = kPanelBytes / (inputs * dtype_bytes(dtype)) / kPanelAlign;
  const auto widest = static_cast<std::uint32_t>(std::max<std::size_t>(1, fitting) * kPanelAlign);
  return std::min(std::clamp(even, kMinPanelWidth, kMaxPanelWidth), widest);
}

using Product = dnnl::matmul::primitive_desc;

// y [16, width] = x [16, inputs] * weights [inputs, width], packed as oneDNN likes. Empty where the
// CPU has no product of that type. M is always kRowTile: oneDNN changes its summation with M.
std::optional<Product> make_product(const dnnl::engine& engine, std::uint32_t inputs,
                                    std::uint32_t width, Memory::data_type type) {
  const Memory::desc x({kRowTile, inputs}, type, Memory::format_tag::ab);
  const Memory::desc weights({inputs, width}, type, Memory::format_tag::any);
  const Memory::desc y({kRowTile, width}, Memory::data_type::f32, Memory::format_tag::ab);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  try {
    return Product(dnnl::matmul::desc(x, weights, y), attributes, engine);
  } catch (const dnnl::error&) {
    return std::nullopt;
  }
}

// On huge pages where the machine has them: a product reads all of it once a step.
PackedBytes allocate_packed(std::size_t bytes) {
  constexpr std::size_t kHugePage = 2 * kMiB;
  const std::size_t alignment = bytes < kHugePage ? kCacheLine : kHugePage;
  const std::size_t taken = round_up(std::max<std::size_t>(bytes, 1), alignment);
  PackedBytes packed(static_cast<std::byte*>(std::aligned_alloc(alignment, taken)), &std::free);
  KVRM_CHECK(packed != nullptr);
  if (alignment == kHugePage) madvise(packed.get(), taken, MADV_HUGEPAGE);
  return packed;
}

// Keeps oneDNN's team of OpenMP threads from starting: they would spin on the cores of our workers.
class OneOpenMpThread {
 public:
  OneOpenMpThread() : threads_before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneOpenMpThread() { omp_set_num_threads(threads_before_); }
  OneOpenMpThread(const OneOpenMpThread&) = delete;
  OneOpenMpThread& operator=(const OneOpenMpThread&) = delete;

 private:
  int threads_before_;
};

// weights [width, inputs], row-major, into packed.
LinearPanel make_panel(const dnnl::engine& engine, const Product& product, const float* weights,
                       std::byte* packed) {
  LinearPanel panel;
  panel.primitive = dnnl::matmul(product);
  panel.x_desc = product.src_desc();
  panel.y_desc = product.dst_desc();
  panel.scratch_desc = product.scratchpad_desc();
  panel.weights = Memory(product.weights_desc(), engine, packed);
  const Memory::desc plain(product.weights_desc().dims(), Memory::data_type::f32,
                           Memory::format_tag::ba);
  Memory source(plain, engine, const_cast<float*>(weights));
  dnnl::stream stream(engine);
  dnnl::reorder(source, panel.weights).execute(stream, source, panel.weights);
  stream.wait();
  return panel;
}

}  // namespace

PackedLinear::PackedLinear(std::span<const float> weights, std::uint32_t outputs,
                           std::uint32_t inputs, DType dtype)
    : state_(std::make_unique<State>()) {
  KVRM_CHECK_EQ(weights.size(), std::size_t{outputs} * inputs);
  KVRM_CHECK_LE(inputs, kMaxLinearInputs);
  KVRM_CHECK(dtype == DType::f32 || dtype == DType::bf16);
  const OneOpenMpThread one_thread;
  State& state = *state_;
  state.inputs = inputs;
  state.outputs = outputs;
  state.dtype = dtype;
  state.weights = weights;
  state.engine = dnnl::engine(dnnl::engine::kind::cpu, 0);
  const std::uint32_t width = panel_width(outputs, inputs, dtype);
  state.bf16_product =
      dtype == DType::bf16 && make_product(state.engine, inputs, width, Memory::data_type::bf16);
  const auto type = state.bf16_product ? Memory::data_type::bf16 : Memory::data_type::f32;
  const auto product_of = [&](std::uint32_t first) {
    const auto product = make_product(state.engine, inputs, std::min(width, outputs - first), type);
    KVRM_CHECK(product.has_value());
    return *product;
  };
  std::vector<std::size_t> places = {0};
  for (std::uint32_t first = 0; first < outputs; first += width) {
    places.push_back(places.back() +
                     round_up(product_of(first).weights_desc().get_size(), kCacheLine));
  }
  state.packed = allocate_packed(places.back());
  for (std::uint32_t first = 0; first < outputs; first += width) {
    LinearPanel panel =
        make_panel(state.engine, product_of(first), weights.data() + std::size_t{first} * inputs,
                   state.packed.get() + places[first / width]);
    panel.first = first;
    panel.width = std::min(width, outputs - first);
    state.panels.push_back(std::move(panel));
  }
}

PackedLinear::~PackedLinear() = default;
PackedLinear::PackedLinear(PackedLinear&&) noexcept = default;
PackedLinear& PackedLinear::operator=(PackedLinear&&) noexcept = default;

std::uint32_t PackedLinear::inputs() const { return state_->inputs; }
std::uint32_t PackedLinear::outputs() const { return state_->outputs; }
std::uint32_t PackedLinear::panels() const {
  return static_cast<std::uint32_t>(state_->panels.size());
}

std::uint32_t PackedLinear::prepared_row_bytes() const {
  if (!state_->rounds_input()) return 0;
  return state_->inputs * (state_->bf16_product ? 2 : 4);
}

std::uint64_t PackedLinear::bytes() const {
  std::uint64_t total = 0;
  for (const LinearPanel& panel : state_->panels) total += panel.weights.get_desc().get_size();
  return total;
}

}  // namespace kvrm
