// The scheduler against a plain list: ages, free slots, and who goes to the front.
#include "harness/driver/scheduler.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <deque>
#include <set>
#include <vector>

namespace kvrm {
namespace {

struct ListModel {
  struct Holder {
    SlotIndex slot;
    RequestHandle request;
    bool decoding;
  };
  std::deque<RequestHandle> waiting;
  std::vector<Holder> holders;  // oldest first
};

void expect_equal(const Scheduler& scheduler, const ListModel& model) {
  RC_ASSERT(scheduler.waiting_count() == model.waiting.size());
  RC_ASSERT(scheduler.active_count() == model.holders.size());
  if (!model.waiting.empty()) RC_ASSERT(scheduler.front() == model.waiting.front());
  SlotIndex slot = scheduler.oldest();
  std::vector<SlotIndex> decoding;
  for (const ListModel::Holder& holder : model.holders) {
    RC_ASSERT(slot == holder.slot);
    RC_ASSERT(scheduler.request_in(slot) == holder.request);
    RC_ASSERT(scheduler.is_decoding(slot) == holder.decoding);
    if (holder.decoding) decoding.push_back(slot);
    if (&holder == &model.holders.back()) RC_ASSERT(scheduler.youngest() == slot);
    slot = scheduler.next_younger(slot);
  }
  RC_ASSERT(slot == Scheduler::kNoSlot);
  std::sort(decoding.begin(), decoding.end());
  std::vector<SlotIndex> listed = {99};
  scheduler.list_decoding(listed);
  RC_ASSERT(listed == decoding);
}

void admit(Scheduler& scheduler, ListModel& model, std::uint32_t slots) {
  std::set<SlotIndex> taken;
  for (const ListModel::Holder& holder : model.holders) taken.insert(holder.slot);
  SlotIndex lowest = 0;
  while (taken.count(lowest) > 0) ++lowest;
  RC_ASSERT(scheduler.free_slot() == (lowest < slots ? lowest : Scheduler::kNoSlot));
  if (lowest == slots || model.waiting.empty()) return;
  scheduler.admit_front(lowest);
  model.holders.push_back({lowest, model.waiting.front(), false});
  model.waiting.pop_front();
}

void leave(Scheduler& scheduler, ListModel& model, std::size_t place, bool preempted) {
  const ListModel::Holder holder = model.holders[place];
  if (preempted) {
    scheduler.preempt(holder.slot);
    model.waiting.push_front(holder.request);
  } else {
    scheduler.release(holder.slot);
  }
  model.holders.erase(model.holders.begin() + static_cast<std::ptrdiff_t>(place));
}

struct Coverage {
  std::uint64_t full = 0;          // admissions without a free slot
  std::uint64_t preemptions = 0;   // of anyone, which the driver does to the youngest only
  std::uint64_t inner_leaves = 0;  // with an older and a younger holder
  std::uint64_t high_slots = 0;    // of a second word of bits
};

void note(Coverage& coverage, const ListModel& model, std::size_t place, bool preempted) {
  coverage.preemptions += preempted ? 1 : 0;
  coverage.inner_leaves += place > 0 && place + 1 < model.holders.size() ? 1 : 0;
  coverage.high_slots += model.holders[place].slot >= 64 ? 1 : 0;
}

void run_sequence(Coverage& coverage) {
  const auto slots = *rc::gen::element(1U, 2U, 5U, 64U, 65U, 140U);
  Scheduler scheduler(slots);
  ListModel model;
  RequestHandle next = 0;
  // From any number of holders on: ends and arrivals alone would never fill more than a few slots.
  const auto held = *rc::gen::inRange<std::uint32_t>(0, slots + 1);
  for (; next < held; ++next) {
    scheduler.enqueue(next);
    model.waiting.push_back(next);
    admit(scheduler, model, slots);
  }
  const auto operations = *rc::gen::container<std::vector<std::uint32_t>>(
      300, rc::gen::inRange<std::uint32_t>(0, 1U << 20));
  for (const std::uint32_t operation : operations) {
    const std::size_t place = model.holders.empty() ? 0 : (operation >> 3) % model.holders.size();
    switch (operation % 8) {
      case 0:
      case 1:
        scheduler.enqueue(next);
        model.waiting.push_back(next++);
        break;
      case 2:
      case 3:
      case 4:
        coverage.full += model.holders.size() == slots && !model.waiting.empty() ? 1 : 0;
        admit(scheduler, model, slots);
        break;
      case 5:
        if (model.holders.empty()) break;
        scheduler.start_decoding(model.holders[place].slot);
        model.holders[place].decoding = true;
        break;
      default:
        if (model.holders.empty()) break;
        note(coverage, model, place, operation % 8 == 7);
        leave(scheduler, model, place, operation % 8 == 7);
    }
    expect_equal(scheduler, model);
  }
}

// Random operations seldom hold more slots than a word has bits.
TEST(Scheduler, KnowsEverySlotOfAnyNumber) {
  for (const std::uint32_t slots : {1U, 63U, 64U, 65U, 128U, 129U, 200U}) {
    Scheduler scheduler(slots);
    std::vector<SlotIndex> expected;
    for (SlotIndex slot = 0; slot < slots; ++slot) {
      scheduler.enqueue(1000 + slot);
      ASSERT_EQ(scheduler.free_slot(), slot);
      scheduler.admit_front(slot);
      if (slot % 3 == 1) continue;
      scheduler.start_decoding(slot);
      expected.push_back(slot);
    }
    EXPECT_EQ(scheduler.free_slot(), Scheduler::kNoSlot);
    std::vector<SlotIndex> decoding;
    scheduler.list_decoding(decoding);
    EXPECT_EQ(decoding, expected) << slots;
    for (SlotIndex slot = 0; slot < slots; ++slot) {
      EXPECT_EQ(scheduler.is_decoding(slot), slot % 3 != 1) << slots << " " << slot;
    }
  }
}

TEST(Scheduler, IsAQueueAndAListByAge) {
  Coverage coverage;
  EXPECT_TRUE(rc::check([&] { run_sequence(coverage); }));
  EXPECT_GT(coverage.full, 100U);
  EXPECT_GT(coverage.preemptions, 100U);
  EXPECT_GT(coverage.inner_leaves, 100U);
  EXPECT_GT(coverage.high_slots, 10U);
}

}  // namespace
}  // namespace kvrm
