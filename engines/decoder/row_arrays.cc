#include "engines/decoder/row_arrays.h"

#include "harness/base/units.h"
#include "kernels/linear/linear.h"

namespace kvrm {

std::size_t row_arrays_bytes(std::uint32_t rows) {
  return round_up(rows, kRowTile) *
         (4 * sizeof(std::uint32_t) + 2 * sizeof(std::uint64_t) + sizeof(FarSpan));
}

RowArrays place_row_arrays(std::byte* memory, std::uint32_t rows) {
  const std::size_t capacity = round_up(rows, kRowTile);
  RowArrays arrays;
  arrays.write_slot = reinterpret_cast<std::uint64_t*>(memory);
  arrays.content_key = arrays.write_slot + capacity;
  arrays.token = reinterpret_cast<std::uint32_t*>(arrays.content_key + capacity);
  arrays.position = arrays.token + capacity;
  arrays.length = arrays.position + capacity;
  arrays.history = arrays.length + capacity;
  arrays.far = reinterpret_cast<FarSpan*>(arrays.history + capacity);
  return arrays;
}

void set_row(const RowArrays& arrays, std::uint32_t row, const RowInput& input) {
  arrays.token[row] = input.token;
  arrays.position[row] = input.position;
  arrays.length[row] = input.length;
  arrays.history[row] = input.history;
  arrays.write_slot[row] = input.write_slot;
  arrays.content_key[row] = input.content_key;
  arrays.far[row] = input.far;
}

void clear_rows(const RowArrays& arrays, std::uint32_t first, std::uint32_t end) {
  for (std::uint32_t row = first; row < end; ++row) set_row(arrays, row, {});
}

}  // namespace kvrm
