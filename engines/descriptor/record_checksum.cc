#include "engines/descriptor/record_checksum.h"

#include <cstring>

namespace kvrm {

std::uint64_t checksum_bytes(const std::byte* from, std::size_t bytes, RecordPart part,
                             std::uint64_t first) {
  std::uint64_t key = checksum_key(part) + first * kChecksumStride;
  std::uint64_t sum = 0;
  for (std::size_t offset = 0; offset < bytes; offset += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, from + offset, 8);
    sum += checksum_term(word, key);
    key += kChecksumStride;
  }
  return sum;
}

std::uint64_t copy_with_checksum(std::byte* to, const std::byte* from, std::size_t bytes,
                                 RecordPart part, std::uint64_t first) {
  std::uint64_t key = checksum_key(part) + first * kChecksumStride;
  std::uint64_t sum = 0;
  for (std::size_t offset = 0; offset < bytes; offset += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, from + offset, 8);
    std::memcpy(to + offset, &word, 8);
    sum += checksum_term(word, key);
    key += kChecksumStride;
  }
  return sum;
}

}  // namespace kvrm
