// The block tables of all histories: one row of physical blocks a history, in logical order, with
// the runs in it kept as it changes. It knows neither who else holds a block nor what is in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engines/history/block_run.h"
#include "harness/base/huge_array.h"
#include "harness/base/ids.h"
#include "harness/contract/engine.h"

namespace kvrm {

// Rows of a fixed size, addressed by index; blocks may leave at both ends for ever. Entries are
// numbered from the first block that a row holds.
class HistoryTables {
 public:
  HistoryTables(std::uint32_t rows, std::uint32_t row_blocks);

  std::span<const BlockIndex> blocks(std::uint32_t row) const {
    return {entries_.data() + begin(row), rows_[row].size};
  }
  std::uint32_t size(std::uint32_t row) const { return rows_[row].size; }
  std::uint32_t runs(std::uint32_t row) const { return rows_[row].runs; }
  // Rises when an entry that was there leaves or changes; not when entries are added at the end.
  std::uint32_t version(std::uint32_t row) const { return rows_[row].version; }
  // The run of a row that begins at `entry`, which CHECKs that one does.
  BlockRun run_at(std::uint32_t row, std::uint32_t entry) const;
  // Where the run that holds `entry` begins; costs the entries between.
  std::uint32_t run_begin(std::uint32_t row, std::uint32_t entry) const;

  // The next `count` entries of a row, to be filled in; then grow() adds them.
  std::span<BlockIndex> room(std::uint32_t row, std::uint32_t count);
  void grow(std::uint32_t row, std::uint32_t count);
  void drop_back(std::uint32_t row, std::uint32_t count);
  void drop_front(std::uint32_t row, std::uint32_t count);
  // Makes an empty row the first `count` entries of another.
  void copy(std::uint32_t from, std::uint32_t to, std::uint32_t count);
  // The run that begins at `entry` now lies at `first` and the blocks after it.
  void move_run(std::uint32_t row, std::uint32_t entry, BlockIndex first);

  // Runs of all rows by size.
  const SizeHistogram& runs_by_blocks() const { return runs_by_blocks_; }
  // Of all rows; a shared block counts once for each.
  std::uint64_t blocks() const { return blocks_; }
  std::size_t bytes() const;

  // What the rows' runs and the histogram should be and are not; empty when all is right.
  std::string check_invariants() const;

 private:
  struct Row {
    std::uint32_t front = 0;  // entries that left in front, since the row last moved to its begin
    std::uint32_t size = 0;
    std::uint32_t runs = 0;
    std::uint32_t version = 0;
  };

  std::size_t begin(std::uint32_t row) const {
    return std::size_t{row} * row_stride_ + rows_[row].front;
  }
  void tag(std::size_t first, std::uint32_t blocks) {
    if (blocks == 1) return;
    run_blocks_[first] = blocks;
    run_blocks_[first + blocks - 1] = blocks;
  }
  // Blocks of the run that begins at `at`, which is `left` entries before its row's end.
  std::uint32_t run_from(std::size_t at, std::uint32_t left) const {
    return left > 1 && entries_[at + 1] == entries_[at] + 1 ? run_blocks_[at] : 1;
  }
  // Blocks of the run that ends with `at`, the `number`-th entry of its row.
  std::uint32_t run_to(std::size_t at, std::uint32_t number) const {
    return number > 1 && entries_[at] == entries_[at - 1] + 1 ? run_blocks_[at] : 1;
  }
  void count_run(std::uint32_t blocks, bool added);
  void join_with_next(std::uint32_t row, std::uint32_t entry, std::uint32_t blocks);

  std::uint32_t row_blocks_ = 0;
  std::uint32_t row_stride_ = 0;
  std::vector<Row> rows_;          // [rows]
  HugeArray<BlockIndex> entries_;  // [rows, row_stride]
  // [rows, row_stride] blocks in the run, valid at the first and the last entry of each run of
  // several, so that its other end is found from either one. A run of one is known by its
  // neighbours, and costs no line of these.
  HugeArray<std::uint32_t> run_blocks_;
  SizeHistogram runs_by_blocks_{};
  std::uint64_t blocks_ = 0;
};

}  // namespace kvrm
