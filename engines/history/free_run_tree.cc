#include "engines/history/free_run_tree.h"

#include <algorithm>
#include <array>
#include <bit>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kWordBlocks = 64;

// `count` ones from bit `first` on.
constexpr std::uint64_t bit_range(std::uint32_t first, std::uint32_t count) {
  const std::uint64_t ones = count == kWordBlocks ? ~std::uint64_t{0} : (1ULL << count) - 1;
  return ones << first;
}

// The lowest of the longest runs of ones in a word, in O(log 64): doubling finds the largest power
// of two that fits, then smaller powers are appended while a run still carries them.
BlockRun longest_run(std::uint64_t word) {
  if (word == 0) return {};
  std::array<std::uint64_t, 7> starts{word};  // starts[k]: where runs of at least 2^k begin
  std::uint32_t k = 0;
  while (k < 6) {
    const std::uint64_t doubled = starts[k] & (starts[k] >> (1U << k));
    if (doubled == 0) break;
    starts[++k] = doubled;
  }
  std::uint32_t length = 1U << k;
  std::uint64_t longest = starts[k];
  while (k > 0 && length < kWordBlocks) {
    --k;
    const std::uint64_t longer = longest & (starts[k] >> length);
    if (longer == 0) continue;
    longest = longer;
    length += 1U << k;
  }
  return {static_cast<BlockIndex>(std::countr_zero(longest)), length};
}

}  // namespace

FreeRunTree::FreeRunTree(std::uint32_t blocks)
    : blocks_(blocks),
      leaves_(
          std::bit_ceil(std::max(1U, static_cast<std::uint32_t>(divide_up(blocks, kWordBlocks))))),
      words_(leaves_),
      spans_(std::size_t{2} * leaves_) {
  if (blocks > 0) change({0, blocks}, true);
}

FreeRunTree::Span FreeRunTree::span_of_word(std::uint64_t word) {
  return {static_cast<std::uint32_t>(std::countr_one(word)),
          static_cast<std::uint32_t>(std::countl_one(word)), longest_run(word).blocks};
}

FreeRunTree::Span FreeRunTree::join(const Span& left, const Span& right,
                                    std::uint32_t half_blocks) {
  return {left.prefix == half_blocks ? half_blocks + right.prefix : left.prefix,
          right.suffix == half_blocks ? half_blocks + left.suffix
                                      : KVRM_MUTATE(run_tree_whole_half_cut, right.suffix, 0U),
          std::max({left.longest, right.longest,
                    KVRM_MUTATE(run_tree_seam_missed, left.suffix + right.prefix, 0U)})};
}

BlockRun FreeRunTree::largest() const {
  const std::uint32_t length = spans_[1].longest;
  if (length == 0) return {};
  std::uint32_t node = 1;
  std::uint32_t first = 0;
  std::uint32_t half = leaves_ * kWordBlocks / 2;
  while (node < leaves_) {
    const Span& left = spans_[std::size_t{2} * node];
    const Span& right = spans_[std::size_t{2} * node + 1];
    if (left.longest == length) {
      node = 2 * node;
    } else if (left.suffix + right.prefix == length) {
      return {first + half - left.suffix, length};
    } else {
      node = 2 * node + 1;
      first += half;
    }
    half /= 2;
  }
  return {first + longest_run(words_[node - leaves_]).first, length};
}

std::uint32_t FreeRunTree::free_from(BlockIndex first, std::uint32_t limit) const {
  std::uint32_t found = 0;
  while (found < limit && first + found < blocks_) {
    const std::uint32_t at = first + found;
    const std::uint32_t offset = at % kWordBlocks;
    const auto here =
        static_cast<std::uint32_t>(std::countr_one(words_[at / kWordBlocks] >> offset));
    found += here;
    if (offset + here < kWordBlocks) break;
  }
  return std::min(found, limit);
}

void FreeRunTree::erase(BlockRun run) { change(run, false); }

void FreeRunTree::insert(BlockRun run) { change(run, true); }

void FreeRunTree::change(BlockRun run, bool to_free) {
  KVRM_CHECK_LE(std::uint64_t{run.first} + run.blocks, blocks_);
  KVRM_CHECK(run.blocks > 0);
  const std::uint32_t first_word = run.first / kWordBlocks;
  const std::uint32_t last_word = (run.first + run.blocks - 1) / kWordBlocks;
  for (std::uint32_t word = first_word; word <= last_word; ++word) {
    const std::uint32_t begin = std::max(run.first, word * kWordBlocks);
    const std::uint32_t end = std::min(run.first + run.blocks, (word + 1) * kWordBlocks);
    const std::uint64_t mask = bit_range(begin % kWordBlocks, end - begin);
    KVRM_CHECK_EQ(words_[word] & mask, to_free ? 0 : mask);
    words_[word] ^= mask;
    spans_[leaves_ + word] = span_of_word(words_[word]);
  }
  refresh(first_word, last_word);
}

void FreeRunTree::refresh(std::uint32_t first_word, std::uint32_t last_word) {
  std::uint32_t half = kWordBlocks;
  std::uint32_t first = (leaves_ + first_word) / 2;
  std::uint32_t last = (leaves_ + last_word) / 2;
  bool changed = true;
  for (; first > 0 && changed; first /= 2, last /= 2, half *= 2) {
    changed = false;
    for (std::uint32_t node = first; node <= last; ++node) {
      const Span joined =
          join(spans_[std::size_t{2} * node], spans_[std::size_t{2} * node + 1], half);
      changed = changed || joined != spans_[node];
      spans_[node] = joined;
    }
  }
}

std::vector<BlockIndex> FreeRunTree::list() const {
  std::vector<BlockIndex> result;
  for (BlockIndex block = 0; block < blocks_; ++block) {
    if ((words_[block / kWordBlocks] >> (block % kWordBlocks) & 1U) != 0) result.push_back(block);
  }
  return result;
}

std::size_t FreeRunTree::bytes() const {
  return words_.size() * sizeof(std::uint64_t) + spans_.size() * sizeof(Span);
}

}  // namespace kvrm
