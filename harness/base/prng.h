// Random numbers that are the same bytes with every compiler: one independent stream per (seed,
// purpose), and a counter-based mix for content that must be computable at any position. Not for
// security.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace kvrm {

// SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection whose output bits are well mixed.
constexpr std::uint64_t mix64(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15ULL;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

// xoshiro256** (Blackman, Vigna 2018), seeded by SplitMix64. Seed 0 is a seed like any other.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view purpose);

  std::uint64_t next();
  double uniform();                           // [0, 1), 53 bits
  std::uint64_t below(std::uint64_t bound);   // [0, bound), unbiased; bound > 0
  double exponential(double mean);            // inverse transform
  double normal();                            // polar method (Marsaglia 1964)
  double gamma(double shape, double scale);   // Marsaglia, Tsang 2000
  double lognormal(double mu, double sigma);  // exp(mu + sigma * normal)

 private:
  std::array<std::uint64_t, 4> state_;
};

}  // namespace kvrm
