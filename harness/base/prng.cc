#include "harness/base/prng.h"

#include <bit>
#include <cmath>

#include "harness/base/check.h"
#include "harness/base/hash.h"

namespace kvrm {

// Every word of the state is written below.  NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init)
RandomStream::RandomStream(std::uint64_t seed, std::string_view purpose) {
  std::uint64_t key = mix64(seed) ^ hash_text(purpose);
  for (std::uint64_t& word : state_) {
    key = mix64(key);
    word = key;
  }
}

std::uint64_t RandomStream::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double RandomStream::uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

std::uint64_t RandomStream::below(std::uint64_t bound) {
  KVRM_CHECK(bound > 0);
  const std::uint64_t reject_below = (0 - bound) % bound;
  for (;;) {
    const std::uint64_t value = next();
    if (value >= reject_below) return value % bound;
  }
}

double RandomStream::exponential(double mean) { return -mean * std::log1p(-uniform()); }

double RandomStream::normal() {
  for (;;) {
    const double x = 2 * uniform() - 1;
    const double y = 2 * uniform() - 1;
    const double square = x * x + y * y;
    if (square > 0 && square < 1) return x * std::sqrt(-2 * std::log(square) / square);
  }
}

double RandomStream::gamma(double shape, double scale) {
  KVRM_CHECK(shape > 0);
  // Below shape 1: Gamma(a) = Gamma(a + 1) * U^(1/a).
  if (shape < 1) return gamma(shape + 1, scale) * std::pow(1 - uniform(), 1 / shape);
  const double d = shape - 1.0 / 3.0;
  const double c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = normal();
    const double cube_root = 1 + c * x;
    if (cube_root <= 0) continue;
    const double v = cube_root * cube_root * cube_root;
    if (std::log(1 - uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v * scale;
  }
}

double RandomStream::lognormal(double mu, double sigma) { return std::exp(mu + sigma * normal()); }

}  // namespace kvrm
