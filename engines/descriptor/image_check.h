// What makes a row, and the whole step image that a full commit carries, acceptable: every field of
// every row, and every entry of tables and lists, unused ones included. Pure functions.
#pragma once

#include <cstddef>

#include "engines/descriptor/step_image.h"
#include "engines/descriptor/step_limits.h"
#include "harness/base/mutation.h"

namespace kvrm {

// Where a row is in its history and in the pool.
struct RowPlace {
  std::uint32_t position = 0;
  std::uint32_t length = 0;
  std::uint64_t write_slot = 0;
};

// All fields of a row but its token and its own number.
struct RowFields {
  RowPlace place;
  std::uint64_t content_key = 0;
  FarSpan far;
};

bool token_fits(TokenId token, const StepLimits& limits);
bool bias_fits(float bias);  // finite and not negative
bool active_row_fits(const RowFields& row, const StepLimits& limits);
bool row_is_empty(const RowFields& row);  // as of a row that serves no request

// Whether an active row may go on by one position as kAdvance has it.
constexpr bool may_advance(const RowPlace& row, const StepLimits& limits) {
  return row.position + 1 < limits.max_position && row.length < limits.max_length &&
         KVRM_MUTATE(record_advance_over_block_end, (row.write_slot + 1) % limits.block_tokens != 0,
                     true);
}

bool image_fits(const std::byte* image, const StepLimits& limits);

}  // namespace kvrm
