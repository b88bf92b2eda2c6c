// What makes a step record acceptable, part by part: sizes, and every index against the limits of
// the image and the pool. Pure functions; they change nothing.
#pragma once

#include <cstddef>
#include <span>

#include "engines/descriptor/record_view.h"
#include "engines/descriptor/step_limits.h"
#include "harness/contract/step_descriptor.h"

namespace kvrm {

// Whether some engine could have these limits, for those that were read from a file. Afterwards no
// size of an image or a record overflows.
bool limits_fit(const StepLimits& limits);

// Known kind and flags, counts within the limits, and nothing of the other kind.
bool sizes_fit(const StepRecordHeader& header, const StepLimits& limits);

bool slot_edit_fits(const SlotEdit& edit, const StepLimits& limits);
// `values` [value_words(edit)].
bool table_edit_fits(const TableEdit& edit, const std::uint64_t* values, const StepLimits& limits);
// Of an edit of groups: what each value means, and whether all of them fit.
class GroupsCheck {
 public:
  GroupsCheck(const TableEdit& edit, const StepLimits& limits)
      : pool_blocks_(limits.pool_blocks),
        max_blocks_(limits.shape.max_blocks),
        logical_(edit.logical) {}

  // Calls visit(i, group) for each value [count], in order.
  template <class Visit>
  void all(const std::uint64_t* values, std::uint32_t count, const Visit& visit) {
    const std::uint32_t groups = leading_groups(values, count, visit);
    for (std::uint32_t i = groups; i < count; ++i) visit(i, next(values[i]));
  }
  bool fits() const { return !bad_; }

 private:
  // Up to the first cleared entry, whose number it returns: a plain loop, for there may be
  // thousands.
  template <class Visit>
  std::uint32_t leading_groups(const std::uint64_t* values, std::uint32_t count,
                               const Visit& visit) {
    std::uint64_t logical = logical_;
    std::uint64_t beyond = 0;  // its highest bit: some group ends beyond the pool
    std::uint32_t i = 0;
    for (; i < count && values[i] >> 32 != 0; ++i) {
      const auto physical = static_cast<std::uint32_t>(values[i]);
      const auto blocks = static_cast<std::uint32_t>(values[i] >> 32);
      visit(i, KvGroup{static_cast<std::uint32_t>(logical), physical, blocks});
      logical += blocks;
      beyond |= pool_blocks_ - (std::uint64_t{physical} + blocks);
    }
    if (i == 0) return 0;
    // They follow each other, so that the last one ends last.
    bad_ = logical > max_blocks_ || beyond >> 63 != 0;
    any_ = true;
    return i;
  }

  KvGroup next(std::uint64_t value) {
    const auto physical = static_cast<std::uint32_t>(value);
    const auto blocks = static_cast<std::uint32_t>(value >> 32);
    if (blocks == 0) [[unlikely]]
      return cleared(value);
    // A group behind a cleared entry finds logical_ beyond every history.
    const std::uint64_t begin = logical_;
    logical_ += blocks;
    bad_ |= logical_ > max_blocks_ || std::uint64_t{physical} + blocks > pool_blocks_;
    any_ = true;
    return {.logical = static_cast<std::uint32_t>(begin), .physical = physical, .blocks = blocks};
  }
  KvGroup cleared(std::uint64_t value) {
    bad_ |= value != 0 || (!any_ && logical_ != 0 && logical_ != kCleared);
    logical_ = kCleared;
    return {};
  }

  static constexpr std::uint64_t kCleared = std::uint64_t{1} << 32;
  std::uint64_t pool_blocks_;
  std::uint64_t max_blocks_;
  std::uint64_t logical_;
  bool any_ = false;
  bool bad_ = false;
};

bool block_copy_fits(const BlockCopy& copy, const StepLimits& limits);
bool stage_copy_fits(const StageCopy& copy, const StepLimits& limits);
bool far_update_fits(const FarUpdate& update, const StepLimits& limits);

// Every edit of an edits record, or every field of every row, table and list of a full one, padding
// and unused entries included; except overlaps, and what only the image before can tell. For
// records whose sizes fit.
bool indexes_fit(const RecordView& record, const StepLimits& limits);

// Whether the copies are in order and none writes what another one reads or writes.
bool block_copies_disjoint(std::span<const BlockCopy> copies);
bool stage_copies_disjoint(std::span<const StageCopy> copies);
bool copies_disjoint(const RecordView& record, const StepLimits& limits);

}  // namespace kvrm
