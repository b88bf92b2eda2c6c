#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/simd_test.cc"
#include <hwy/foreach_target.h>
//
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "harness/base/prng.h"
#include "kernels/simd/convert-inl.h"
#include "kernels/simd/exp-inl.h"
#include "kernels/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {

// What a test sees of a target.
float exp_of(float x) {
  const hn::ScalableTag<float> d;
  return hn::GetLane(fast_exp(d, hn::Set(d, x)));
}
float exp_of_in_four_lanes(float x) {
  const hn::CappedTag<float, 4> d;
  return hn::GetLane(fast_exp(d, hn::Set(d, x)));
}
void to_bf16(const float* source, std::size_t count, std::uint16_t* rounded) {
  round_to_bf16(source, count, rounded);
}
void to_f16(const float* source, std::size_t count, std::uint16_t* rounded) {
  round_to_f16(source, count, rounded);
}
template <class T>
void widen(const std::uint16_t* source, std::size_t count, float* wide) {
  const hn::CappedTag<float, 8> d;
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    hn::StoreU(load_floats(d, reinterpret_cast<const T*>(source + i)), d, wide + i);
  }
}
void from_bf16(const std::uint16_t* source, std::size_t count, float* wide) {
  widen<hwy::bfloat16_t>(source, count, wide);
}
void from_f16(const std::uint16_t* source, std::size_t count, float* wide) {
  widen<hwy::float16_t>(source, count, wide);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvrm {
namespace {

struct Target {
  const char* name;
  bool (*supported)();
  float (*exp)(float);
  float (*exp_four)(float);
  void (*to_bf16)(const float*, std::size_t, std::uint16_t*);
  void (*to_f16)(const float*, std::size_t, std::uint16_t*);
  void (*from_bf16)(const std::uint16_t*, std::size_t, float*);
  void (*from_f16)(const std::uint16_t*, std::size_t, float*);
};
void PrintTo(const Target& target, std::ostream* out) { *out << target.name; }

#define KVRM_TEST_TARGET(name, ns)                                                         \
  Target {                                                                                 \
#name, cpu_runs_##name, ns::exp_of, ns::exp_of_in_four_lanes, ns::to_bf16, ns::to_f16, \
        ns::from_bf16, ns::from_f16                                                        \
  }

class SimdTest : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (!GetParam().supported()) GTEST_SKIP() << "this CPU has no " << GetParam().name;
  }
};

INSTANTIATE_TEST_SUITE_P(Targets, SimdTest,
                         testing::Values(KVRM_TEST_TARGET(sse4, N_SSE4),
                                         KVRM_TEST_TARGET(avx2, N_AVX2),
                                         KVRM_TEST_TARGET(avx512, N_AVX3)),
                         [](const auto& target) { return target.param.name; });

TEST_P(SimdTest, ExpKeepsItsErrorBound) {
  for (double x = -87; x < 88; x += 0.0137) {
    const auto input = static_cast<float>(x);
    const double exact = std::exp(static_cast<double>(input));
    ASSERT_NEAR(GetParam().exp(input) / exact, 1.0, 2e-7) << x;
    ASSERT_EQ(GetParam().exp(input), GetParam().exp_four(input)) << x;
  }
}

TEST_P(SimdTest, ExpIsExactWhereSoftmaxNeedsIt) {
  EXPECT_EQ(GetParam().exp(0.0F), 1.0F);
  EXPECT_EQ(GetParam().exp(-std::numeric_limits<float>::infinity()), 0.0F);
  EXPECT_EQ(GetParam().exp(-1e30F), 0.0F);
  EXPECT_TRUE(std::isfinite(GetParam().exp(1e30F)));
}

// Random bit patterns, and every place where rounding may tie, overflow or leave the normal range.
std::vector<float> interesting_floats() {
  std::vector<float> values = {0.0F, -0.0F, 65504.0F, 65519.0F, 65520.0F, 1e-8F, 6e-8F, 0x1p-14F};
  RandomStream random(7, "simd_test");
  while (values.size() < 60'000) {
    const auto bits = static_cast<std::uint32_t>(random.next());
    const auto value = std::bit_cast<float>(bits);
    if (!std::isnan(value)) values.push_back(value);
    values.push_back(std::bit_cast<float>((0x38000000U + bits % 0x10000000U) & 0xfffff000U));
  }
  values.push_back(std::numeric_limits<float>::infinity());
  return values;
}

TEST_P(SimdTest, RoundsAsHalfDoes) {
  const std::vector<float> values = interesting_floats();
  std::vector<std::uint16_t> bf16(values.size());
  std::vector<std::uint16_t> f16(values.size());
  GetParam().to_bf16(values.data(), values.size(), bf16.data());
  GetParam().to_f16(values.data(), values.size(), f16.data());
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(bf16[i], float_to_bf16(values[i])) << values[i];
    ASSERT_EQ(f16[i], float_to_f16(values[i])) << values[i];
  }
}

TEST_P(SimdTest, NanStaysNan) {
  const std::vector<float> values(35, std::bit_cast<float>(0x7f800001U));
  std::vector<std::uint16_t> bits(values.size());
  GetParam().to_bf16(values.data(), values.size(), bits.data());
  for (const std::uint16_t b : bits) ASSERT_TRUE(std::isnan(bf16_to_float(b)));
  GetParam().to_f16(values.data(), values.size(), bits.data());
  for (const std::uint16_t b : bits) ASSERT_TRUE(std::isnan(f16_to_float(b)));
}

TEST_P(SimdTest, WidensEveryHalf) {
  std::vector<std::uint16_t> bits(1U << 16);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  std::vector<float> bf16(bits.size());
  std::vector<float> f16(bits.size());
  GetParam().from_bf16(bits.data(), bits.size(), bf16.data());
  GetParam().from_f16(bits.data(), bits.size(), f16.data());
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const float exact_bf16 = bf16_to_float(bits[i]);
    const float exact_f16 = f16_to_float(bits[i]);
    ASSERT_TRUE(bf16[i] == exact_bf16 || std::isnan(exact_bf16)) << i;
    ASSERT_TRUE(f16[i] == exact_f16 || !std::isfinite(exact_f16)) << i;
  }
}

}  // namespace
}  // namespace kvrm
#endif  // HWY_ONCE
