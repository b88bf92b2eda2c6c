// The checksum of a step record: a sum, modulo 2^64, of one term for every 8-byte word, so that it
// can be kept up to date as words are added and replaced. A guard against damage, not against
// malice.
//
// The term of word i of a part is a bijection of the word, different for every (part, i). So any
// change inside one word (a flipped bit, a torn store) changes exactly one term to a different one,
// and with it the sum: it is always found. Changes of several words are found but for one in 2^64.
// The header, which says how the rest is to be read, has its own sum, and is checked first.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "harness/base/prng.h"

namespace kvrm {

enum class RecordPart : std::uint32_t {
  header = 1,
  slot_edits,
  table_edits,
  block_copies,
  stage_copies,
  far_updates,
  image,
};

// A term's key: that of the part's first word, and what it rises by from a word to the next.
constexpr std::uint64_t checksum_key(RecordPart part) {
  return mix64(static_cast<std::uint64_t>(part));
}
inline constexpr std::uint64_t kChecksumStride = 0x9e3779b97f4a7c15ULL;

constexpr std::uint64_t checksum_term(std::uint64_t word, std::uint64_t key) {
  const std::uint64_t product = (word ^ key) * 0x9fb21c651e98df25ULL;
  return product ^ (product >> 29);
}

// Terms of a value that is word `first` and following of its part.
template <class T>
std::uint64_t checksum_of(const T& value, RecordPart part, std::uint64_t first) {
  static_assert(sizeof(T) % 8 == 0);
  const auto words = std::bit_cast<std::array<std::uint64_t, sizeof(T) / 8>>(value);
  std::uint64_t key = checksum_key(part) + first * kChecksumStride;
  std::uint64_t sum = 0;
  for (const std::uint64_t word : words) {
    sum += checksum_term(word, key);
    key += kChecksumStride;
  }
  return sum;
}

// Writes the words of a part one after the other and keeps their sum.
class WordSink {
 public:
  WordSink(std::uint64_t* to, RecordPart part, std::uint64_t first)
      : to_(to), key_(checksum_key(part) + first * kChecksumStride) {}

  void put(std::uint64_t word) {
    *to_++ = word;
    sum_ += checksum_term(word, key_);
    key_ += kChecksumStride;
  }
  template <class T>
  void put(const T& value) {
    for (const auto word : std::bit_cast<std::array<std::uint64_t, sizeof(T) / 8>>(value))
      put(word);
  }
  std::uint64_t checksum() const { return sum_; }

 private:
  std::uint64_t* to_;
  std::uint64_t key_;
  std::uint64_t sum_ = 0;
};

// Terms of a span of words, from the part's word `first` on; `bytes` is a multiple of 8.
std::uint64_t checksum_bytes(const std::byte* from, std::size_t bytes, RecordPart part,
                             std::uint64_t first = 0);
// The same while copying them, so that they are read once.
std::uint64_t copy_with_checksum(std::byte* to, const std::byte* from, std::size_t bytes,
                                 RecordPart part, std::uint64_t first = 0);

}  // namespace kvrm
