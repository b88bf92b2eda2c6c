// A set of block ids as a hierarchical bitmap of 64-ary levels: insert, erase and "lowest member at
// or after" touch one word a level. Not thread-safe, sized once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "harness/base/ids.h"

namespace kvrm {

class BlockBitmap {
 public:
  // Empty, for ids below `blocks`.
  explicit BlockBitmap(std::uint32_t blocks);

  bool contains(BlockIndex block) const {
    return (levels_[0][block / 64] >> (block % 64) & 1U) != 0;
  }
  // CHECKs that the block is not a member.
  void insert(BlockIndex block);
  // CHECKs that the block is a member.
  void erase(BlockIndex block);
  // The lowest member, kNoBlock where there is none.
  BlockIndex lowest() const { return next(0); }
  // The lowest member at or after `from`, kNoBlock where there is none.
  BlockIndex next(BlockIndex from) const;
  std::size_t bytes() const;

 private:
  // levels_[0] has a bit a block; a bit of levels_[k + 1] says whether a word of levels_[k] is not
  // zero; the last level is one word.
  std::vector<std::vector<std::uint64_t>> levels_;
};

}  // namespace kvrm
