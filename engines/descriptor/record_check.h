// What makes a step record acceptable, part by part: sizes, and every index against the limits of
// the image and the pool. Pure functions; they change nothing.
#pragma once

#include <cstddef>
#include <span>

#include "engines/descriptor/record_view.h"
#include "engines/descriptor/step_limits.h"
#include "harness/contract/step_descriptor.h"

namespace kvrm {

// Known kind and flags, counts within the limits, and nothing of the other kind.
bool sizes_fit(const StepRecordHeader& header, const StepLimits& limits);

bool slot_edit_fits(const SlotEdit& edit, const StepLimits& limits);
// `values` [value_words(edit)].
bool table_edit_fits(const TableEdit& edit, const std::uint64_t* values, const StepLimits& limits);
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
