// What makes a step record acceptable, part by part: sizes, and every index against the limits of
// the image and the pool. Pure functions; they change nothing.
#pragma once

#include <cstddef>

#include "engines/descriptor/apply_step.h"
#include "harness/contract/step_descriptor.h"

namespace kvrm {

// Bytes of the whole record that such a header opens. Only for a header whose sizes fit.
std::size_t record_bytes(const StepRecordHeader& header);

// Known kind, counts within the limits, and nothing of the other kind.
bool sizes_fit(const StepRecordHeader& header, const StepLimits& limits);
bool slot_edit_fits(const SlotEdit& edit, const StepLimits& limits);
bool table_edit_fits(const TableEdit& edit, const StepLimits& limits);
// A full commit's image: every field of every row, padding rows included.
bool image_fits(const std::byte* image, const StepLimits& limits);

}  // namespace kvrm
