#include "harness/driver/prefix_index.h"

#include <bit>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/base/prng.h"

namespace kvrm {

PrefixIndex::PrefixIndex(std::uint32_t slots)
    : entries_(slots), chains_(std::bit_ceil(slots), kNone) {}

SlotIndex& PrefixIndex::chain_of(std::uint64_t key) {
  return chains_[mix64(key) & (chains_.size() - 1)];
}

void PrefixIndex::insert(SlotIndex slot, std::uint64_t key, std::uint32_t tokens) {
  KVRM_CHECK_LT(0U, tokens);
  KVRM_CHECK_EQ(entries_.at(slot).tokens, 0U);
  SlotIndex& first = chain_of(key);
  entries_[slot] = {.key = key, .tokens = tokens, .next = first};
  first = slot;
}

void PrefixIndex::erase(SlotIndex slot) {
  Entry& entry = entries_.at(slot);
  if (entry.tokens == 0) return;
  SlotIndex* link = &chain_of(entry.key);
  while (*link != slot) link = &entries_[*link].next;
  *link = entry.next;
  entry = {};
}

SlotIndex PrefixIndex::find(std::uint64_t key, std::uint32_t tokens) const {
  SlotIndex slot = chains_[mix64(key) & (chains_.size() - 1)];
  while (slot != kNone &&
         (entries_[slot].key != key ||
          entries_[slot].tokens + KVRM_MUTATE(prefix_shorter_than_asked, 0U, 1U) < tokens)) {
    slot = entries_[slot].next;
  }
  return slot;
}

}  // namespace kvrm
