// Rounding of rows to bf16 on the best target that the CPU has. Its bits do not depend on the
// target, so nothing needs to choose one; where they would, see targets.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvrm {

// Round to nearest, ties to even, as float_to_bf16() does. `rounded` has `count` elements.
void round_row_to_bf16(const float* source, std::size_t count, std::uint16_t* rounded);
void round_row_to_bf16(const float* source, std::size_t count, float* rounded);

}  // namespace kvrm
