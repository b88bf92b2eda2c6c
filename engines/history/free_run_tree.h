// The free runs of a pool: a bitmap of free blocks under a segment tree that knows, for every
// aligned span, the longest free run in it, so that the largest free run is found in O(log blocks).
// Sized once; it decides nothing about placement.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engines/history/block_run.h"
#include "harness/base/ids.h"

namespace kvrm {

class FreeRunTree {
 public:
  // All blocks free.
  explicit FreeRunTree(std::uint32_t blocks);

  // The largest free run, the lowest of equal ones; empty where nothing is free.
  BlockRun largest() const;
  // How many blocks from `first` on are free, counted up to `limit`.
  std::uint32_t free_from(BlockIndex first, std::uint32_t limit) const;
  // CHECKs that every block of the run is free (erase), or none is (insert).
  void erase(BlockRun run);
  void insert(BlockRun run);

  std::vector<BlockIndex> list() const;
  std::size_t bytes() const;

 private:
  // Of an aligned span: free blocks at its front, at its back, and in its longest free run.
  struct Span {
    std::uint32_t prefix = 0;
    std::uint32_t suffix = 0;
    std::uint32_t longest = 0;
    bool operator==(const Span&) const = default;
  };
  static Span span_of_word(std::uint64_t word);
  static Span join(const Span& left, const Span& right, std::uint32_t half_blocks);
  void change(BlockRun run, bool to_free);
  void refresh(std::uint32_t first_word, std::uint32_t last_word);

  std::uint32_t blocks_ = 0;
  std::uint32_t leaves_ = 0;          // words, rounded up to a power of two
  std::vector<std::uint64_t> words_;  // [leaves_], bit set: free; bits past the pool stay clear
  std::vector<Span> spans_;  // heap order: children of i are 2i and 2i + 1; leaf w is leaves_ + w
};

}  // namespace kvrm
