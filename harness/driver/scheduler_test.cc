// The scheduler against a plain list: ages, free slots, and who goes to the front.
#include "harness/driver/scheduler.h"

#include <gtest/gtest.h>
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

RC_GTEST_PROP(Scheduler, IsAQueueAndAListByAge, ()) {
  const auto slots = *rc::gen::inRange<std::uint32_t>(1, 140);
  Scheduler scheduler(slots);
  ListModel model;
  RequestHandle next = 0;
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
        admit(scheduler, model, slots);
        break;
      case 5:
        if (model.holders.empty()) break;
        scheduler.start_decoding(model.holders[place].slot);
        model.holders[place].decoding = true;
        break;
      default:
        if (!model.holders.empty()) leave(scheduler, model, place, operation % 8 == 7);
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

}  // namespace
}  // namespace kvrm
