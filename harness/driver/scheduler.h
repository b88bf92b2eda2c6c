// Who waits, who holds which slot, and who goes first when memory runs out. Pure state: no engine,
// no clock. Requests are named by a handle of the caller's.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "harness/base/ids.h"

namespace kvrm {

using RequestHandle = std::uint32_t;

// Requests leave the queue in the order in which they entered it, and a preempted one goes back to
// its front. Only the youngest is ever preempted, so the order of admission is the order of
// arrival at every moment, and the oldest always gets on.
class Scheduler {
 public:
  explicit Scheduler(std::uint32_t slots);

  void enqueue(RequestHandle request) { waiting_.push_back(request); }
  std::size_t waiting_count() const { return waiting_.size(); }
  RequestHandle front() const { return waiting_.front(); }
  void drop_front() { waiting_.pop_front(); }

  std::uint32_t active_count() const { return active_count_; }
  // The lowest free slot; kNoSlot when all are taken.
  SlotIndex free_slot() const;
  // Moves the front of the queue into a free slot, as its youngest holder, not yet decoding.
  void admit_front(SlotIndex slot);
  void start_decoding(SlotIndex slot);
  bool is_decoding(SlotIndex slot) const;
  void release(SlotIndex slot);
  // Gives the slot up and puts its request at the front of the queue.
  void preempt(SlotIndex slot);

  RequestHandle request_in(SlotIndex slot) const { return links_[slot].request; }
  // Holders by age; kNoSlot past either end.
  SlotIndex oldest() const { return links_.back().younger; }
  SlotIndex youngest() const { return links_.back().older; }
  SlotIndex next_younger(SlotIndex slot) const;
  // Replaces `slots` by the decoding slots, ascending.
  void list_decoding(std::vector<SlotIndex>& slots) const;

  static constexpr SlotIndex kNoSlot = ~SlotIndex{0};

 private:
  // A ring by age through all holders; the entry past the last slot is its anchor.
  struct Link {
    SlotIndex older = kNoSlot;
    SlotIndex younger = kNoSlot;
    RequestHandle request = 0;
  };

  std::deque<RequestHandle> waiting_;
  std::vector<Link> links_;               // [slots + 1]
  std::vector<std::uint64_t> free_bits_;  // [slots / 64], set: the slot is free
  std::vector<std::uint64_t> decoding_bits_;
  std::uint32_t slots_ = 0;
  std::uint32_t active_count_ = 0;
};

}  // namespace kvrm
