// Which slots hold the content that a key names, so that a request with a shared prefix finds one
// to fork without a look at every slot. Pure state: it knows no engine and no request.
#pragma once

#include <cstdint>
#include <vector>

#include "harness/base/ids.h"

namespace kvrm {

// A chained hash table with one entry a slot at most; nothing is allocated after construction.
class PrefixIndex {
 public:
  explicit PrefixIndex(std::uint32_t slots);

  // The slot's first `tokens` positions are the content that `key` names. The slot is in no entry.
  void insert(SlotIndex slot, std::uint64_t key, std::uint32_t tokens);
  // Idempotent.
  void erase(SlotIndex slot);
  // The slot inserted last of those that hold at least `tokens` positions of `key`; kNone: there is
  // none.
  SlotIndex find(std::uint64_t key, std::uint32_t tokens) const;

  static constexpr SlotIndex kNone = ~SlotIndex{0};

 private:
  struct Entry {
    std::uint64_t key = 0;
    std::uint32_t tokens = 0;  // 0: the slot is in no chain
    SlotIndex next = kNone;    // of the same chain
  };

  SlotIndex& chain_of(std::uint64_t key);

  std::vector<Entry> entries_;     // by slot
  std::vector<SlotIndex> chains_;  // first slot of each; a power of two of them
};

}  // namespace kvrm
