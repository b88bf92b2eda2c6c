// 64-bit content hashes for digests and launch hashes: fast, the same on every machine, not
// cryptographic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace kvrm {

// Folds one word into a running hash; order matters.
constexpr std::uint64_t hash_combine(std::uint64_t hash, std::uint64_t word) {
  hash = (hash ^ word) * 0x9fb21c651e98df25ULL;
  return hash ^ (hash >> 29);
}

// Hash of raw bytes, four independent lanes of 8 bytes so that it runs near the load rate.
std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed = 0);

std::uint64_t hash_text(std::string_view text);

}  // namespace kvrm
