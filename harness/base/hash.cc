#include "harness/base/hash.h"

#include <array>
#include <cstring>

#include "harness/base/prng.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kSeed = 0x6b76726d2f312e30ULL;

std::uint64_t load_word(const std::byte* bytes, std::size_t count) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, count);
  return word;
}

}  // namespace

std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed) {
  std::array<std::uint64_t, 4> lanes{};
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) lanes[lane] = mix64(seed + kSeed + lane);
  std::size_t offset = 0;
  for (; offset + 32 <= bytes.size(); offset += 32) {
    for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
      lanes[lane] = hash_combine(lanes[lane], load_word(bytes.data() + offset + 8 * lane, 8));
    }
  }
  std::uint64_t hash = hash_combine(kSeed, bytes.size());
  for (const std::uint64_t lane : lanes) hash = hash_combine(hash, lane);
  for (; offset < bytes.size(); offset += 8) {
    const std::size_t count = bytes.size() - offset < 8 ? bytes.size() - offset : 8;
    hash = hash_combine(hash, load_word(bytes.data() + offset, count));
  }
  return mix64(hash);
}

std::uint64_t hash_text(std::string_view text) {
  return hash_bytes(std::as_bytes(std::span<const char>(text.data(), text.size())));
}

}  // namespace kvrm
