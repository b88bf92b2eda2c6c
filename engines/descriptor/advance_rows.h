// The host's side of what kAdvance does to the rows of the shadow image, as one pass over the row
// arrays that compiles to vector instructions. Which rows have edits is the builder's business.
#pragma once

#include "engines/decoder/row_arrays.h"
#include "engines/descriptor/step_limits.h"

namespace kvrm {

// Every row whose length is not 0 goes on by one position, and consumes a token that the device
// sampled. False: one of them may not (may_advance); then the rows are undefined.
[[nodiscard]] bool advance_rows(const RowArrays& rows, const StepLimits& limits);

// No row goes on: those that have consumed a token that the device sampled keep it.
void keep_rows(const RowArrays& rows, const StepLimits& limits);

}  // namespace kvrm
