#include "engines/history/block_bitmap.h"

#include <bit>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"

namespace kvrm {

BlockBitmap::BlockBitmap(std::uint32_t blocks) {
  std::uint64_t bits = blocks == 0 ? 1 : blocks;
  do {
    bits = divide_up(bits, 64);
    levels_.emplace_back(bits);
  } while (bits > 1);
}

void BlockBitmap::insert(BlockIndex block) {
  KVRM_CHECK(!contains(block));
  std::uint64_t bit = block;
  for (std::vector<std::uint64_t>& level : levels_) {
    std::uint64_t& word = level[bit / 64];
    const bool was_empty = word == 0;
    word |= std::uint64_t{1} << (bit % 64);
    if (!was_empty) return;
    bit /= 64;
  }
}

void BlockBitmap::erase(BlockIndex block) {
  KVRM_CHECK(contains(block));
  std::uint64_t bit = block;
  for (std::vector<std::uint64_t>& level : levels_) {
    std::uint64_t& word = level[bit / 64];
    word &= ~(std::uint64_t{1} << (bit % 64));
    if (KVRM_MUTATE(bitmap_parent_cleared, word != 0, false)) return;
    bit /= 64;
  }
}

BlockIndex BlockBitmap::next(BlockIndex from) const {
  // Climb until a word has a member at or after the position, then descend along lowest bits.
  std::uint64_t bit = from;
  for (std::size_t level = 0; level < levels_.size(); ++level) {
    if (bit / 64 >= levels_[level].size()) return kNoBlock;
    const std::uint64_t word = levels_[level][bit / 64] >> (bit % 64);
    if (word != 0) {
      bit += static_cast<std::uint64_t>(std::countr_zero(word));
      while (level > 0) {
        --level;
        bit = bit * 64 + static_cast<std::uint64_t>(std::countr_zero(levels_[level][bit]));
      }
      return static_cast<BlockIndex>(bit);
    }
    bit = bit / 64 + 1;
  }
  return kNoBlock;
}

std::size_t BlockBitmap::bytes() const {
  std::size_t result = 0;
  for (const std::vector<std::uint64_t>& level : levels_) result += level.size() * 8;
  return result;
}

}  // namespace kvrm
