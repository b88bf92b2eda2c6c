// One part of a step record while it is built: its edits in order, and their checksum, kept up to
// date with every change. Host only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "engines/descriptor/record_checksum.h"
#include "harness/base/check.h"

namespace kvrm {

template <class Edit>
class RecordSection {
 public:
  RecordSection(RecordPart part, std::size_t capacity) : part_(part), capacity_(capacity) {
    edits_.reserve(capacity);
  }

  void add(const Edit& edit) {
    KVRM_CHECK_LT(edits_.size(), capacity_);
    sum_ += terms(edit, edits_.size());
    edits_.push_back(edit);
  }
  void replace(std::size_t index, const Edit& edit) {
    sum_ += terms(edit, index) - terms(edits_[index], index);
    edits_[index] = edit;
  }
  // Costs a look at each edit where they are in order already.
  template <class Less>
  void sort(const Less& less) {
    if (std::is_sorted(edits_.begin(), edits_.end(), less)) return;
    std::sort(edits_.begin(), edits_.end(), less);
    sum_again();
  }
  template <class Which>
  void remove_if(const Which& which) {
    if (std::erase_if(edits_, which) > 0) sum_again();
  }
  void clear() {
    edits_.clear();
    sum_ = 0;
  }

  std::span<const Edit> edits() const { return edits_; }
  std::size_t room() const { return capacity_ - edits_.size(); }
  std::uint64_t checksum() const { return sum_; }
  std::size_t bytes() const { return edits_.capacity() * sizeof(Edit); }
  // Where the next part begins.
  std::byte* store(std::byte* to) const {
    const std::size_t size = edits_.size() * sizeof(Edit);
    if (size > 0) std::memcpy(to, edits_.data(), size);
    return to + size;
  }

 private:
  std::uint64_t terms(const Edit& edit, std::size_t index) const {
    return checksum_of(edit, part_, index * (sizeof(Edit) / 8));
  }
  void sum_again() {
    sum_ = 0;
    for (std::size_t i = 0; i < edits_.size(); ++i) sum_ += terms(edits_[i], i);
  }

  RecordPart part_;
  std::size_t capacity_;
  std::vector<Edit> edits_;
  std::uint64_t sum_ = 0;
};

}  // namespace kvrm
