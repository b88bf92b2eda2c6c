#include "harness/driver/prefix_index.h"

#include <gtest/gtest.h>

#include <vector>

#include "harness/base/prng.h"

namespace kvrm {
namespace {

// The plain one: what was inserted, in order.
struct Inserted {
  SlotIndex slot = 0;
  std::uint64_t key = 0;
  std::uint32_t tokens = 0;
};

SlotIndex newest(const std::vector<Inserted>& list, std::uint64_t key, std::uint32_t tokens) {
  for (auto entry = list.rbegin(); entry != list.rend(); ++entry) {
    if (entry->key == key && entry->tokens >= tokens) return entry->slot;
  }
  return PrefixIndex::kNone;
}

TEST(PrefixIndex, FindsWhatAListFinds) {
  std::uint64_t found = 0;
  std::uint64_t too_short = 0;  // the key is there, with fewer positions only
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    RandomStream random(seed, "prefix index");
    const auto slots = static_cast<std::uint32_t>(1 + random.below(40));
    PrefixIndex index(slots);
    std::vector<Inserted> list;
    for (int operation = 0; operation < 400; ++operation) {
      const auto slot = static_cast<SlotIndex>(random.below(slots));
      const bool held = std::erase_if(list, [&](const auto& e) { return e.slot == slot; }) > 0;
      index.erase(slot);
      if (!held || random.below(3) == 0) {
        list.push_back({slot, random.below(12), static_cast<std::uint32_t>(1 + random.below(9))});
        index.insert(slot, list.back().key, list.back().tokens);
      }
      const std::uint64_t key = random.below(12);
      const auto tokens = static_cast<std::uint32_t>(1 + random.below(9));
      const SlotIndex expected = newest(list, key, tokens);
      ASSERT_EQ(index.find(key, tokens), expected) << "seed " << seed;
      found += expected != PrefixIndex::kNone ? 1 : 0;
      too_short += expected == PrefixIndex::kNone && newest(list, key, 1) != expected ? 1 : 0;
    }
  }
  EXPECT_GT(found, 1000U);
  EXPECT_GT(too_short, 1000U);
}

TEST(PrefixIndexDeathTest, ASlotIsThereOnce) {
  PrefixIndex index(2);
  index.insert(1, 7, 3);
  EXPECT_DEATH(index.insert(1, 8, 3), "tokens");
}

}  // namespace
}  // namespace kvrm
