#include "engines/transport/table_edits.h"

#include <array>
#include <bit>

namespace kvrm {

void TableEdits::open(const TableEdit& edit) {
  static_assert(std::endian::native == std::endian::little);
  TableEdit one = edit;
  one.count = 1;
  const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(one);
  open_ = words_.size();
  words_.insert(words_.end(), words.begin(), words.end());
  ++count_;
  slot_ = edit.slot;
  table_ = edit.table;
  next_index_ = std::uint64_t{edit.index} + 1;
}

}  // namespace kvrm
