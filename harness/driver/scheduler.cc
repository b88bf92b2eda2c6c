#include "harness/driver/scheduler.h"

#include <bit>

#include "harness/base/check.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

constexpr std::uint64_t bit_of(SlotIndex slot) { return std::uint64_t{1} << (slot % 64); }

}  // namespace

Scheduler::Scheduler(std::uint32_t slots)
    : links_(slots + 1),
      free_bits_((slots + 63) / 64),
      decoding_bits_((slots + 63) / 64),
      slots_(slots) {
  for (SlotIndex slot = 0; slot < slots; ++slot) free_bits_[slot / 64] |= bit_of(slot);
}

SlotIndex Scheduler::free_slot() const {
  for (std::size_t word = 0; word < free_bits_.size(); ++word) {
    if (free_bits_[word] != 0) {
      return static_cast<SlotIndex>(word * 64 +
                                    static_cast<std::size_t>(std::countr_zero(free_bits_[word])));
    }
  }
  return kNoSlot;
}

void Scheduler::admit_front(SlotIndex slot) {
  KVRM_CHECK_LT(slot, slots_);
  KVRM_CHECK((free_bits_[slot / 64] & bit_of(slot)) != 0);
  KVRM_CHECK(!waiting_.empty());
  free_bits_[slot / 64] &= ~bit_of(slot);
  Link& anchor = links_.back();
  Link& link = links_[slot];
  link.request = waiting_.front();
  link.older = anchor.older;
  link.younger = kNoSlot;
  (anchor.older == kNoSlot ? anchor : links_[anchor.older]).younger = slot;
  anchor.older = slot;
  waiting_.pop_front();
  ++active_count_;
}

void Scheduler::start_decoding(SlotIndex slot) {
  KVRM_CHECK((free_bits_[slot / 64] & bit_of(slot)) == 0);
  decoding_bits_[KVRM_MUTATE(scheduler_slot_64_aliases, slot / 64, 0U)] |= bit_of(slot);
}

bool Scheduler::is_decoding(SlotIndex slot) const {
  return (decoding_bits_[slot / 64] & bit_of(slot)) != 0;
}

void Scheduler::release(SlotIndex slot) {
  KVRM_CHECK_LT(slot, slots_);
  KVRM_CHECK((free_bits_[slot / 64] & bit_of(slot)) == 0);
  free_bits_[slot / 64] |= bit_of(slot);
  decoding_bits_[slot / 64] &= KVRM_MUTATE(scheduler_released_slot_decodes, ~bit_of(slot), ~0ULL);
  Link& anchor = links_.back();
  const Link link = links_[slot];
  (link.older == kNoSlot ? anchor : links_[link.older]).younger = link.younger;
  (link.younger == kNoSlot ? anchor : links_[link.younger]).older =
      KVRM_MUTATE(scheduler_age_link_lost, link.older, kNoSlot);
  --active_count_;
}

void Scheduler::preempt(SlotIndex slot) {
  KVRM_MUTATE(scheduler_preempted_goes_last, waiting_.push_front(links_[slot].request),
              waiting_.push_back(links_[slot].request));
  release(slot);
}

SlotIndex Scheduler::next_younger(SlotIndex slot) const { return links_[slot].younger; }

void Scheduler::list_decoding(std::vector<SlotIndex>& slots) const {
  slots.clear();
  for (std::size_t word = 0; word < decoding_bits_.size(); ++word) {
    for (std::uint64_t bits = decoding_bits_[word]; bits != 0; bits &= bits - 1) {
      slots.push_back(static_cast<SlotIndex>(word * 64) +
                      static_cast<SlotIndex>(std::countr_zero(bits)));
    }
  }
}

}  // namespace kvrm
