// Random streams, hashes, 16-bit floats and units: the small things that everything else trusts.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "harness/base/half.h"
#include "harness/base/hash.h"
#include "harness/base/prng.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

TEST(RandomStream, StreamsOfOneSeedAreIndependentAndRepeatable) {
  RandomStream first(7, "arrivals");
  RandomStream again(7, "arrivals");
  RandomStream other(7, "lengths");
  int equal = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = first.next();
    EXPECT_EQ(value, again.next());
    equal += value == other.next() ? 1 : 0;
  }
  EXPECT_EQ(equal, 0);
  EXPECT_NE(RandomStream(0, "a").next(), RandomStream(1, "a").next());
}

TEST(RandomStream, BytesAreFixed) {
  // A change of these changes every workload of every seed.
  RandomStream stream(1, "golden");
  EXPECT_EQ(stream.next(), 2104442440274325348ULL);
  EXPECT_EQ(hash_text("kvrm"), 3167281267004631086ULL);
}

struct Moments {
  double mean = 0;
  double variance = 0;
};

template <class Draw>
Moments moments(Draw draw, int count) {
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < count; ++i) {
    const double value = draw();
    sum += value;
    squares += value * value;
  }
  const double mean = sum / count;
  return {mean, squares / count - mean * mean};
}

TEST(RandomStream, DistributionsHaveTheirMoments) {
  RandomStream stream(3, "moments");
  constexpr int kCount = 400'000;
  const Moments exponential = moments([&] { return stream.exponential(2.0); }, kCount);
  EXPECT_NEAR(exponential.mean, 2.0, 0.02);
  EXPECT_NEAR(exponential.variance, 4.0, 0.1);
  const Moments normal = moments([&] { return stream.normal(); }, kCount);
  EXPECT_NEAR(normal.mean, 0.0, 0.01);
  EXPECT_NEAR(normal.variance, 1.0, 0.02);
  for (const double shape : {0.25, 1.0, 9.0}) {
    const Moments gamma = moments([&] { return stream.gamma(shape, 2.0); }, kCount);
    EXPECT_NEAR(gamma.mean, 2 * shape, 0.02 * 2 * shape + 0.01) << shape;
    EXPECT_NEAR(gamma.variance, 4 * shape, 0.06 * 4 * shape) << shape;
  }
  const Moments lognormal = moments([&] { return stream.lognormal(0.0, 0.5); }, kCount);
  EXPECT_NEAR(lognormal.mean, std::exp(0.125), 0.01);
}

TEST(RandomStream, BelowIsUnbiasedAtTheEdges) {
  RandomStream stream(5, "below");
  std::vector<int> seen(3);
  for (int i = 0; i < 30'000; ++i) ++seen[stream.below(3)];
  for (const int count : seen) EXPECT_NEAR(count, 10'000, 400);
  EXPECT_EQ(stream.below(1), 0U);
}

TEST(Hash, EveryByteAndTheLengthCount) {
  std::vector<std::byte> bytes(77);
  std::set<std::uint64_t> seen{hash_bytes(bytes)};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = std::byte{1};
    EXPECT_TRUE(seen.insert(hash_bytes(bytes)).second) << i;
    bytes[i] = std::byte{0};
  }
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_TRUE(seen.insert(hash_bytes(std::span(bytes).first(size))).second) << size;
  }
}

TEST(Half, EveryF16ValueComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f16_to_float(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(f16_to_float(float_to_f16(value))));
    } else {
      EXPECT_EQ(float_to_f16(value), bits) << value;
    }
  }
}

TEST(Half, RoundsToNearestTiesToEven) {
  EXPECT_EQ(f16_to_float(float_to_f16(1.0F + 0x1.0p-11F)), 1.0F);
  EXPECT_EQ(f16_to_float(float_to_f16(1.0F + 0x1.8p-10F)), 1.0F + 0x1.0p-9F);
  EXPECT_EQ(f16_to_float(float_to_f16(65519.0F)), 65504.0F);
  EXPECT_TRUE(std::isinf(f16_to_float(float_to_f16(65520.0F))));
  EXPECT_EQ(f16_to_float(float_to_f16(0x1.0p-25F)), 0.0F);
  EXPECT_EQ(f16_to_float(float_to_f16(0x1.8p-25F)), 0x1.0p-24F);
  EXPECT_EQ(bf16_to_float(float_to_bf16(1.00585938F)), 1.0078125F);
  EXPECT_EQ(bf16_to_float(float_to_bf16(1.00390625F)), 1.0F);
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Units, PrintThreeDigits) {
  EXPECT_EQ(format_bytes(312), "312 B");
  EXPECT_EQ(format_bytes(3 * kMiB / 2), "1.50 MiB");
  EXPECT_EQ(format_duration(870), "870 ns");
  EXPECT_EQ(format_duration(12'340'000), "12.3 ms");
  EXPECT_EQ(format_duration(-1500), "-1.50 us");
}

}  // namespace
}  // namespace kvrm
