// A list of edits of the step image's tables, in the words of a step record: entries that follow
// each other become one TableEdit with several values. It collects; it does not know what is in the
// image.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "harness/base/mutation.h"
#include "harness/contract/step_descriptor.h"
#include "kernels/page/page.h"

namespace kvrm {

class TableEdits {
 public:
  // Entry `index` of the slot's groups becomes this one; blocks == 0 clears it.
  void set_group(SlotIndex slot, std::uint32_t index, const KvGroup& group) {
    // A cleared entry goes on with any edit; its logical block is 0 only where it opens one.
    const bool goes_on =
        continues(slot, StepTable::group, index) &&
        (group.blocks == 0 || (group.logical == next_logical_ &&
                               KVRM_MUTATE(edits_go_on_after_cleared, !cleared_, true)));
    if (goes_on) {
      raise_count();
    } else {
      open({.slot = slot, .count = 1, .index = index, .logical = group.logical});
    }
    push(pack_group(group.physical, group.blocks));
    next_logical_ = group.logical + group.blocks;
    cleared_ = group.blocks == 0;
  }
  // Entries [index, index + count) become groups that follow each other from `logical` on. Returns
  // where their values go (pack_group), which stays right until the next call.
  std::uint64_t* set_groups(SlotIndex slot, std::uint32_t index, std::uint16_t count,
                            std::uint32_t logical) {
    open({.slot = slot, .count = count, .index = index, .logical = logical});
    next_index_ += count - 1U;
    next_logical_ = kNowhere;  // only cleared entries can go on with it
    cleared_ = false;
    make_room(count);
    size_ += count;
    return words_.data() + size_ - count;
  }

  // Entry `index` of one of the tables of 4-byte values.
  void set_value(SlotIndex slot, StepTable table, std::uint32_t index, std::uint32_t value) {
    if (!continues(slot, table, index)) {
      open({.slot = slot, .table = table, .count = 1, .index = index});
      push(value);
    } else if (raise_count() % 2 == 1) {
      push(value);
    } else {
      words_[size_ - 1] |= std::uint64_t{value} << KVRM_MUTATE(edits_odd_value_lost, 32, 0);
    }
  }

  void clear() {
    size_ = 0;
    count_ = 0;
    next_index_ = kClosed;
  }

  std::uint32_t count() const { return count_; }  // of TableEdits
  bool empty() const { return size_ == 0; }
  std::span<const std::uint64_t> words() const { return {words_.data(), size_}; }

 private:
  static constexpr std::uint64_t kClosed = ~std::uint64_t{0};
  static constexpr std::uint32_t kNowhere = ~std::uint32_t{0};
  static constexpr std::uint64_t kOneValue = std::uint64_t{1} << 48;  // of TableEdit::count

  bool continues(SlotIndex slot, StepTable table, std::uint32_t index) const {
    return index == next_index_ && slot == slot_ && table == table_ &&
           words_[open_] >> 48 != 0xffffU;
  }
  std::uint64_t raise_count() {
    ++next_index_;
    return (words_[open_] += kOneValue) >> 48;
  }
  void push(std::uint64_t word) {
    make_room(1);
    words_[size_++] = word;
  }
  void make_room(std::size_t words) {
    if (size_ + words > words_.size()) [[unlikely]]
      words_.resize(2 * (size_ + words));
  }
  void open(const TableEdit& edit) {
    static_assert(std::endian::native == std::endian::little);
    make_room(2);
    std::memcpy(&words_[size_], &edit, sizeof(edit));
    open_ = size_;
    size_ += 2;
    ++count_;
    slot_ = edit.slot;
    table_ = edit.table;
    next_index_ = std::uint64_t{edit.index} + 1;
  }

  std::vector<std::uint64_t> words_;  // grows and never shrinks
  std::size_t size_ = 0;              // words in use
  std::uint32_t count_ = 0;
  // The edit that is open: its first word, and what continues it.
  std::size_t open_ = 0;
  std::uint64_t next_index_ = kClosed;
  SlotIndex slot_ = 0;
  StepTable table_ = StepTable::group;
  std::uint32_t next_logical_ = 0;
  bool cleared_ = false;
};

}  // namespace kvrm
