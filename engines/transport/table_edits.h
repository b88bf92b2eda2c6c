// A list of edits of the step image's tables, in the words of a step record: entries that follow
// each other become one TableEdit with several values. It collects; it does not know what is in the
// image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "harness/contract/step_descriptor.h"
#include "kernels/page/page.h"

namespace kvrm {

class TableEdits {
 public:
  // Entry `index` of the slot's groups becomes this one; blocks == 0 clears it.
  void set_group(SlotIndex slot, std::uint32_t index, const KvGroup& group) {
    // A cleared entry goes on with any edit; its logical block is 0 only where it opens one.
    const bool goes_on = continues(slot, StepTable::group, index) &&
                         (group.blocks == 0 || (group.logical == next_logical_ && !cleared_));
    if (goes_on) {
      raise_count();
    } else {
      open({.slot = slot, .index = index, .logical = group.logical});
    }
    words_.push_back(pack_group(group.physical, group.blocks));
    next_logical_ = group.logical + group.blocks;
    cleared_ = group.blocks == 0;
  }

  // Entry `index` of one of the tables of 4-byte values.
  void set_value(SlotIndex slot, StepTable table, std::uint32_t index, std::uint32_t value) {
    if (!continues(slot, table, index)) {
      open({.slot = slot, .table = table, .index = index});
      words_.push_back(value);
    } else if (raise_count() % 2 == 1) {
      words_.push_back(value);
    } else {
      words_.back() |= std::uint64_t{value} << 32;
    }
  }

  void clear() {
    words_.clear();
    count_ = 0;
    next_index_ = kClosed;
  }

  std::uint32_t count() const { return count_; }  // of TableEdits
  bool empty() const { return words_.empty(); }
  std::span<const std::uint64_t> words() const { return words_; }

 private:
  static constexpr std::uint64_t kClosed = ~std::uint64_t{0};
  static constexpr std::uint64_t kOneValue = std::uint64_t{1} << 48;  // of TableEdit::count

  bool continues(SlotIndex slot, StepTable table, std::uint32_t index) const {
    return index == next_index_ && slot == slot_ && table == table_ &&
           words_[open_] >> 48 != 0xffffU;
  }
  std::uint64_t raise_count() {
    ++next_index_;
    return (words_[open_] += kOneValue) >> 48;
  }
  void open(const TableEdit& edit);

  std::vector<std::uint64_t> words_;
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
