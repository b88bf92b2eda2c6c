// The numerical error of every target's kernels against double precision, printed as one table: the
// largest error of an element over the largest magnitude of the exact result.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "harness/base/prng.h"
#include "kernels/attention/attention.h"
#include "kernels/dispatch/kernel_set.h"
#include "kernels/dispatch/offsets_case.h"
#include "kernels/linear/linear.h"
#include "kernels/page/page.h"
#include "kernels/rowwise/rowwise.h"

namespace kvrm {
namespace {

using Exact = std::vector<double>;

struct Outcome {
  std::vector<float> output;
  Exact exact;

  double error() const {
    double largest = 0;
    double magnitude = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      largest = std::max(largest, std::abs(output[i] - exact[i]));
      magnitude = std::max(magnitude, std::abs(exact[i]));
    }
    return largest / magnitude;
  }
};

std::vector<float> normal_floats(std::size_t count, std::string_view purpose) {
  RandomStream random(5, purpose);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

// One history of 700 positions, 8 query heads over 2 kv heads of 128.
struct AttentionCase {
  static constexpr std::uint32_t kLength = 700;
  static constexpr std::uint32_t kQueryHeads = 8;
  KvLayout layout;
  std::vector<std::byte> pool;
  std::vector<float> query = normal_floats(kQueryHeads * 128, "query");

  AttentionCase(const KernelSet& kernels, DType dtype) : layout{dtype, 2, 128, 16} {
    const std::size_t row = std::size_t{layout.kv_heads} * layout.head_dim;
    pool.resize((kLength + 15) / 16 * layout.block_bytes());
    const std::vector<float> key = normal_floats(kLength * row, "key");
    const std::vector<float> value = normal_floats(kLength * row, "value");
    std::vector<std::uint64_t> slots(kLength);
    for (std::uint32_t i = 0; i < kLength; ++i) slots[i] = i;
    AppendKvArgs args;
    args.layout = layout;
    args.pool = pool.data();
    args.key = key.data();
    args.value = value.data();
    args.write_slot = slots.data();
    args.row_stride = static_cast<std::uint32_t>(row);
    for (std::uint32_t i = 0; i < kLength; ++i) offsets::run_item(kernels.append_kv, args, i);
  }

  const std::byte* block(std::uint32_t position) const {
    return pool.data() + position / 16 * layout.block_bytes();
  }

  std::vector<float> run(const KernelSet& kernels) const {
    std::vector<float> partial(3 * kQueryHeads * partial_stride(128));
    std::vector<float> output(query.size());
    AttentionArgs args;
    args.layout = layout;
    args.source.base = pool.data();
    args.rows = 1;
    args.chunks = 3;
    args.query_heads = kQueryHeads;
    args.tile_tokens = 16;
    args.split_tiles = 16;
    args.scale = 1 / std::sqrt(128.0F);
    args.query_stride = kQueryHeads * 128;
    args.query = query.data();
    args.length = &kLength;
    args.partial = partial.data();
    for (std::uint32_t i = 0; i < attention_items(args); ++i) {
      offsets::run_item(kernels.attention, args, i);
    }
    AttentionMergeArgs merge;
    merge.rows = 1;
    merge.chunks = 3;
    merge.query_heads = kQueryHeads;
    merge.head_dim = 128;
    merge.chunk_tokens = 256;
    merge.output_stride = kQueryHeads * 128;
    merge.length = &kLength;
    merge.partial = partial.data();
    merge.output = output.data();
    offsets::run_item(kernels.attention_merge, merge, 0);
    return output;
  }

  // From the keys and values as they are stored.
  Exact exact() const {
    Exact output(query.size(), 0.0);
    for (std::uint32_t head = 0; head < kQueryHeads; ++head) {
      std::vector<double> weights(kLength);
      double sum = 0;
      for (std::uint32_t i = 0; i < kLength; ++i) {
        double dot = 0;
        for (std::uint32_t dim = 0; dim < 128; ++dim) {
          dot +=
              double{query[head * 128 + dim]} * load_key(layout, block(i), head / 4, i % 16, dim);
        }
        sum += weights[i] = std::exp(dot / std::sqrt(128.0));
      }
      for (std::uint32_t i = 0; i < kLength; ++i) {
        for (std::uint32_t dim = 0; dim < 128; ++dim) {
          output[head * 128 + dim] +=
              weights[i] / sum * load_value(layout, block(i), head / 4, i % 16, dim);
        }
      }
    }
    return output;
  }
};

Outcome attention(const KernelSet& kernels, DType dtype) {
  const AttentionCase one(kernels, dtype);
  return {one.run(kernels), one.exact()};
}

Outcome add_norm(const KernelSet& kernels) {
  constexpr std::uint32_t kDim = 4096;
  std::vector<float> hidden = normal_floats(kDim, "hidden");
  const std::vector<float> delta = normal_floats(kDim, "delta");
  const std::vector<float> weight = normal_floats(kDim, "weight");
  Outcome outcome{std::vector<float>(kDim), Exact(kDim)};
  double squares = 0;
  for (std::uint32_t i = 0; i < kDim; ++i) {
    outcome.exact[i] = double{hidden[i]} + delta[i];
    squares += outcome.exact[i] * outcome.exact[i];
  }
  for (std::uint32_t i = 0; i < kDim; ++i) {
    outcome.exact[i] *= weight[i] / std::sqrt(squares / kDim + 1e-5);
  }
  const AddNormArgs args{hidden.data(),         delta.data(), weight.data(),
                         outcome.output.data(), kDim,         1e-5F};
  offsets::run_item(kernels.add_norm, args, 0);
  return outcome;
}

Outcome swiglu(const KernelSet& kernels) {
  constexpr std::uint32_t kDim = 4096;
  Outcome outcome{normal_floats(kDim, "gate"), Exact(kDim)};
  const std::vector<float> up = normal_floats(kDim, "up");
  for (std::uint32_t i = 0; i < kDim; ++i) {
    const double gate = outcome.output[i];
    outcome.exact[i] = gate / (1 + std::exp(-gate)) * up[i];
  }
  const SwiGluArgs args{outcome.output.data(), up.data(), kDim, kDim};
  offsets::run_item(kernels.swiglu, args, 0);
  return outcome;
}

Outcome rotary(const KernelSet& kernels) {
  constexpr std::uint32_t kDim = 128;
  constexpr std::uint32_t kPosition = 4000;
  constexpr float kTheta = 10'000;
  Outcome outcome{normal_floats(2 * kDim, "rotary"), Exact(2 * kDim)};
  for (std::uint32_t i = 0; i < 2 * kDim; i += 2) {
    const double angle = kPosition * std::pow(double{kTheta}, -double(i % kDim) / kDim);
    const double a = outcome.output[i];
    const double b = outcome.output[i + 1];
    outcome.exact[i] = a * std::cos(angle) - b * std::sin(angle);
    outcome.exact[i + 1] = a * std::sin(angle) + b * std::cos(angle);
  }
  std::vector<float> table(std::size_t{kPosition + 1} * kDim);
  fill_rotary_table(table.data(), kPosition + 1, kDim, kTheta);
  RotaryArgs args;
  args.table = table.data();
  args.position = &kPosition;
  args.query = outcome.output.data();
  args.key = outcome.output.data() + kDim;
  args.query_heads = args.kv_heads = 1;
  args.head_dim = kDim;
  args.row_stride = 2 * kDim;
  offsets::run_item(kernels.rotary, args, 0);
  return outcome;
}

// Weights are values of dtype already; so are the inputs where products are in bf16.
Outcome linear(const KernelSet& kernels, DType dtype) {
  constexpr std::uint32_t kInputs = 1024;
  constexpr std::uint32_t kOutputs = 256;
  std::vector<float> weights = normal_floats(std::size_t{kInputs} * kOutputs, "weights");
  std::vector<float> x = normal_floats(std::size_t{kRowTile} * kInputs, "x");
  for (float& value : weights) value = round_to(dtype, value);
  for (float& value : x) value = round_to(dtype, value);
  Outcome outcome{std::vector<float>(std::size_t{kRowTile} * kOutputs),
                  Exact(std::size_t{kRowTile} * kOutputs)};
  for (std::uint32_t row = 0; row < kRowTile; ++row) {
    for (std::uint32_t o = 0; o < kOutputs; ++o) {
      double dot = 0;
      for (std::uint32_t i = 0; i < kInputs; ++i) {
        dot += double{x[row * kInputs + i]} * weights[o * kInputs + i];
      }
      outcome.exact[row * kOutputs + o] = dot;
    }
  }
  const PackedLinear packed(weights, kOutputs, kInputs, dtype);
  LinearArgs args;
  args.weights = &packed;
  args.x = x.data();
  args.y = outcome.output.data();
  args.rows = kRowTile;
  args.x_stride = kInputs;
  args.y_stride = kOutputs;
  for (std::uint32_t item = 0; item < packed.panels(); ++item) {
    offsets::run_item(kernels.linear, args, item);
  }
  return outcome;
}

struct Measured {
  const char* kernel;
  const char* type;
  double most;  // error; of attention and products grows with the terms of a sum
  std::function<Outcome(const KernelSet&)> run;
};

const Measured kMeasured[] = {
    {"attention", "f32", 5e-6, [](const KernelSet& k) { return attention(k, DType::f32); }},
    {"attention", "f16", 5e-6, [](const KernelSet& k) { return attention(k, DType::f16); }},
    {"attention", "bf16", 5e-6, [](const KernelSet& k) { return attention(k, DType::bf16); }},
    {"linear", "f32", 2e-6, [](const KernelSet& k) { return linear(k, DType::f32); }},
    {"linear", "bf16", 2e-6, [](const KernelSet& k) { return linear(k, DType::bf16); }},
    {"add_norm", "f32", 1e-6, add_norm},
    {"rotary", "f32", 1e-6, rotary},
    {"swiglu", "f32", 1e-6, swiglu},
};

TEST(NumericalError, OfEveryTargetIsPrintedAndSmall) {
  std::printf("%-10s %-5s", "kernel", "type");
  for (const std::string& target : available_kernel_targets()) std::printf(" %12s", target.c_str());
  std::printf("\n");
  for (const Measured& measured : kMeasured) {
    std::printf("%-10s %-5s", measured.kernel, measured.type);
    for (const std::string& target : available_kernel_targets()) {
      const double error = measured.run(*select_kernels(target)).error();
      std::printf(" %12.1e", error);
      EXPECT_LT(error, measured.most) << measured.kernel << " " << measured.type << " " << target;
      EXPECT_GT(error, 0) << "an exact result means that nothing was compared";
    }
    std::printf("\n");
  }
}

}  // namespace
}  // namespace kvrm
