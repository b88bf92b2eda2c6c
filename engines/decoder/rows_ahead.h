// Rows of the next step that an engine worked out while the step before it ran, by slot. They wait
// here, on the host, because the step's own row arrays are being read.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engines/decoder/row_arrays.h"
#include "harness/base/ids.h"

namespace kvrm {

class RowsAhead {
 public:
  explicit RowsAhead(std::uint32_t slots) : rows_(slots) {}

  void put(SlotIndex slot, const RowInput& row) { rows_[slot] = row; }
  void forget(SlotIndex slot) { rows_[slot].reset(); }
  // The slot's row, once; none where it was not worked out.
  std::optional<RowInput> take(SlotIndex slot) {
    std::optional<RowInput> row;
    row.swap(rows_[slot]);
    return row;
  }

 private:
  std::vector<std::optional<RowInput>> rows_;
};

}  // namespace kvrm
