// Matrix products: against double precision, and the row invariance that every engine relies on: a
// row's result depends on that row and the weights only.
#include "kernels/linear/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "harness/base/prng.h"
#include "harness/base/units.h"
#include "kernels/linear/linear_kernels.h"

namespace kvrm {
namespace {

struct Shape {
  std::uint32_t outputs;
  std::uint32_t inputs;
};

// One panel, several panels, a narrow last panel, widths that no vector divides.
constexpr Shape kShapes[] = {{64, 64}, {70, 100}, {172, 64}, {512, 96}, {1000, 48}, {3, 5}};

constexpr std::uint32_t kMaxRows = 33;

std::vector<float> random_floats(std::size_t count, DType dtype, std::uint64_t seed) {
  RandomStream random(seed, "linear_test");
  std::vector<float> values(count);
  for (float& value : values) value = round_to(dtype, static_cast<float>(random.normal()));
  return values;
}

// Runs one worker's scratch through every item, last first.
void run_items(const Kernel& kernel, const LinearArgs& args) {
  std::vector<std::byte> memory(kWorkerScratchBytes + 64, std::byte{0xff});
  void* scratch = memory.data();
  std::size_t space = memory.size();
  std::align(64, kWorkerScratchBytes, scratch, space);
  WorkerContext worker{0, {static_cast<std::byte*>(scratch), kWorkerScratchBytes}};
  const std::uint32_t items = linear_row_tiles(args.rows) * args.weights->panels();
  for (std::uint32_t item = items; item-- > 0;) kernel.host(&args, item, worker);
}

// Rows are `stride` floats apart; what is not a row's is NaN, padding rows included.
std::vector<float> multiply(const Kernel& kernel, const PackedLinear& weights,
                            const std::vector<float>& x, std::uint32_t rows,
                            std::uint32_t spare_columns = 0) {
  LinearArgs args;
  args.weights = &weights;
  args.rows = rows;
  args.x_stride = weights.inputs() + spare_columns;
  args.y_stride = weights.outputs() + spare_columns;
  const std::size_t capacity = std::size_t{linear_row_tiles(rows)} * kRowTile;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> input(capacity * args.x_stride, nan);
  std::vector<float> output(capacity * args.y_stride, nan);
  for (std::size_t row = 0; row < rows; ++row) {
    std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(row * weights.inputs()), weights.inputs(),
                input.begin() + static_cast<std::ptrdiff_t>(row * args.x_stride));
  }
  args.x = input.data();
  args.y = output.data();
  run_items(kernel, args);
  std::vector<float> y;
  for (std::size_t row = 0; row < rows; ++row) {
    const auto first = output.begin() + static_cast<std::ptrdiff_t>(row * args.y_stride);
    y.insert(y.end(), first, first + weights.outputs());
    for (std::uint32_t i = weights.outputs(); i < args.y_stride; ++i) {
      EXPECT_TRUE(std::isnan(output[row * args.y_stride + i])) << "written past the row";
    }
  }
  return y;
}

struct Variant {
  const char* name;
  const Kernel* kernel;
  DType dtype;
};

class LinearTest : public testing::TestWithParam<Variant> {};

INSTANTIATE_TEST_SUITE_P(Variants, LinearTest,
                         testing::Values(Variant{"reference_f32", &linear_reference(), DType::f32},
                                         Variant{"reference_bf16", &linear_reference(),
                                                 DType::bf16},
                                         Variant{"onednn_f32", &linear_onednn(), DType::f32},
                                         Variant{"onednn_bf16", &linear_onednn(), DType::bf16}),
                         [](const auto& variant) { return std::string(variant.param.name); });

TEST_P(LinearTest, IsNearDoublePrecision) {
  const auto& [name, kernel, dtype] = GetParam();
  for (const auto& [outputs, inputs] : kShapes) {
    const std::vector<float> w = random_floats(std::size_t{outputs} * inputs, dtype, 1);
    const PackedLinear weights(w, outputs, inputs, dtype);
    const std::vector<float> x = random_floats(std::size_t{17} * inputs, DType::f32, 2);
    const std::vector<float> y = multiply(*kernel, weights, x, 17, 3);
    for (std::size_t i = 0; i < y.size(); ++i) {
      double exact = 0;
      double magnitude = 0;
      for (std::size_t k = 0; k < inputs; ++k) {
        const double product =
            double{round_to(dtype, x[i / outputs * inputs + k])} * w[i % outputs * inputs + k];
        exact += product;
        magnitude += std::abs(product);
      }
      ASSERT_NEAR(y[i], exact, 1e-6 * magnitude) << outputs << "x" << inputs << ", element " << i;
    }
  }
}

// Rows prepared once for all panels are multiplied as each item would have prepared them.
TEST_P(LinearTest, PreparedRowsGiveTheSameBits) {
  const auto& [name, kernel, dtype] = GetParam();
  constexpr std::uint32_t kOutputs = 300;
  constexpr std::uint32_t kInputs = 100;
  const std::vector<float> w = random_floats(std::size_t{kOutputs} * kInputs, dtype, 8);
  const PackedLinear weights(w, kOutputs, kInputs, dtype);
  if (weights.prepared_row_bytes() == 0) {
    EXPECT_EQ(dtype, DType::f32);
    return;
  }
  const std::vector<float> x = random_floats(std::size_t{kMaxRows} * kInputs, DType::f32, 9);
  const std::vector<float> expected = multiply(*kernel, weights, x, kMaxRows);
  const std::size_t capacity = std::size_t{linear_row_tiles(kMaxRows)} * kRowTile;
  std::vector<std::byte> prepared(capacity * weights.prepared_row_bytes(), std::byte{0xff});
  LinearInputArgs input;
  input.weights = &weights;
  input.x = x.data();
  input.prepared = prepared.data();
  input.x_stride = kInputs;
  WorkerContext worker;
  for (std::uint32_t row = 0; row < kMaxRows; ++row) {
    linear_input_kernel().host(&input, row, worker);
  }
  std::vector<float> y(capacity * kOutputs);
  std::vector<float> spoiled = x;  // which only the reference looks at
  if (kernel != &linear_reference()) std::fill(spoiled.begin(), spoiled.end(), 7.0F);
  spoiled.resize(capacity * kInputs);
  LinearArgs args;
  args.weights = &weights;
  args.x = spoiled.data();
  args.y = y.data();
  args.rows = kMaxRows;
  args.x_stride = kInputs;
  args.y_stride = kOutputs;
  args.prepared = prepared.data();
  run_items(*kernel, args);
  y.resize(expected.size());
  EXPECT_EQ(y, expected);
}

// Every M, every position: the row alone gives the same bits.
TEST_P(LinearTest, RowsAreInvariant) {
  const auto& [name, kernel, dtype] = GetParam();
  for (const auto& [outputs, inputs] : kShapes) {
    const std::vector<float> w = random_floats(std::size_t{outputs} * inputs, dtype, 3);
    const PackedLinear weights(w, outputs, inputs, dtype);
    const std::vector<float> x = random_floats(std::size_t{kMaxRows} * inputs, DType::f32, 4);
    std::vector<float> alone;
    for (std::size_t row = 0; row < kMaxRows; ++row) {
      const auto first = x.begin() + static_cast<std::ptrdiff_t>(row * inputs);
      const std::vector<float> y = multiply(*kernel, weights, {first, first + inputs}, 1);
      alone.insert(alone.end(), y.begin(), y.end());
    }
    for (std::uint32_t rows = 1; rows <= kMaxRows; ++rows) {
      const std::vector<float> y = multiply(*kernel, weights, x, rows, rows % 2);
      ASSERT_TRUE(std::equal(y.begin(), y.end(), alone.begin()))
          << rows << " rows, " << outputs << "x" << inputs;
    }
  }
}

// Positions other than a row's own: rows in reverse order.
TEST_P(LinearTest, PositionsAreInvariant) {
  const auto& [name, kernel, dtype] = GetParam();
  const std::uint32_t inputs = 100;
  const std::uint32_t outputs = 172;
  const std::vector<float> w = random_floats(std::size_t{outputs} * inputs, dtype, 5);
  const PackedLinear weights(w, outputs, inputs, dtype);
  const std::vector<float> x = random_floats(std::size_t{kMaxRows} * inputs, DType::f32, 6);
  std::vector<float> turned;
  for (std::size_t row = kMaxRows; row-- > 0;) {
    const auto first = x.begin() + static_cast<std::ptrdiff_t>(row * inputs);
    turned.insert(turned.end(), first, first + inputs);
  }
  const std::vector<float> y = multiply(*kernel, weights, x, kMaxRows);
  const std::vector<float> z = multiply(*kernel, weights, turned, kMaxRows);
  for (std::size_t row = 0; row < kMaxRows; ++row) {
    const auto first = z.begin() + static_cast<std::ptrdiff_t>((kMaxRows - 1 - row) * outputs);
    ASSERT_TRUE(
        std::equal(first, first + outputs, y.begin() + static_cast<std::ptrdiff_t>(row * outputs)));
  }
}

TEST(PackedLinear, CutsPanelsByOutputsOnly) {
  const std::vector<float> w(std::size_t{3000} * 8, 1.0F);
  const std::span<const float> half = std::span<const float>(w).first(w.size() / 2);
  const PackedLinear narrow(half, 3000, 4, DType::f32);
  const PackedLinear wide(w, 3000, 8, DType::bf16);
  EXPECT_EQ(narrow.panels(), wide.panels());
  EXPECT_GT(wide.panels(), 8U);
  EXPECT_GE(narrow.bytes(), 3000 * 4 * sizeof(float));
}

// The widest input must fit a worker's scratch in every dtype, whatever oneDNN makes of it.
TEST(PackedLinear, WidestInputFitsScratch) {
  const std::vector<float> w(std::size_t{64} * kMaxLinearInputs, 0.5F);
  const std::vector<float> x(kMaxLinearInputs, 0.25F);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const PackedLinear weights(w, 64, kMaxLinearInputs, dtype);
    const std::vector<float> y = multiply(linear_onednn(), weights, x, 1, 1);
    for (const float value : y) EXPECT_EQ(value, 0.125F * kMaxLinearInputs);
  }
}

}  // namespace
}  // namespace kvrm
