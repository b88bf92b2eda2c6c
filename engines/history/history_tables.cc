#include "engines/history/history_tables.h"

#include <algorithm>

#include "harness/base/check.h"
#include "harness/base/mutation.h"

namespace kvrm {

HistoryTables::HistoryTables(std::uint32_t rows, std::uint32_t row_blocks)
    : row_blocks_(row_blocks),
      row_stride_(spread_stride(row_blocks, sizeof(BlockIndex))),
      rows_(rows),
      entries_(std::size_t{rows} * row_stride_),
      run_blocks_(entries_.size()) {}

void HistoryTables::count_run(std::uint32_t blocks, bool added) {
  std::uint64_t& count = runs_by_blocks_[size_class(blocks)];
  count += added ? 1 : ~std::uint64_t{0};
  blocks_ += added ? blocks : ~std::uint64_t{blocks} + 1;
}

BlockRun HistoryTables::run_at(std::uint32_t row, std::uint32_t entry) const {
  KVRM_CHECK_LT(entry, rows_[row].size);
  const std::size_t at = begin(row) + entry;
  KVRM_CHECK(entry == 0 || entries_[at] != entries_[at - 1] + 1);
  return {entries_[at], run_from(at, rows_[row].size - entry)};
}

std::uint32_t HistoryTables::run_begin(std::uint32_t row, std::uint32_t entry) const {
  const BlockIndex* table = entries_.data() + begin(row);
  while (entry > 0 && table[entry] == table[entry - 1] + 1) --entry;
  return entry;
}

std::span<BlockIndex> HistoryTables::room(std::uint32_t row, std::uint32_t count) {
  Row& state = rows_[row];
  KVRM_CHECK_LE(std::uint64_t{state.size} + count, row_blocks_);
  if (state.front + state.size + count > row_blocks_) {
    const std::size_t from = begin(row);
    state.front = 0;
    std::copy_n(&entries_[from], state.size, &entries_[begin(row)]);
    std::copy_n(&run_blocks_[from], state.size, &run_blocks_[begin(row)]);
  }
  return {entries_.data() + begin(row) + state.size, count};
}

void HistoryTables::grow(std::uint32_t row, std::uint32_t count) {
  Row& state = rows_[row];
  const BlockIndex* const entries = entries_.data();
  std::size_t at = begin(row) + state.size;
  const std::size_t end = at + count;
  std::uint32_t runs = state.runs;
  // Only the first new run can go on from what was there.
  std::uint32_t before = 0;
  const bool goes_on = count > 0 && state.size > 0 && entries[at] == entries[at - 1] + 1;
  if (KVRM_MUTATE(tables_growth_starts_a_run, goes_on, false)) {
    before = run_to(at - 1, state.size);
    count_run(before, false);
    --runs;
  }
  while (at < end) {
    std::uint32_t added = 1;
    while (at + added < end && entries[at + added] == entries[at] + added) ++added;
    tag(at - before, before + added);
    count_run(before + added, true);
    before = 0;
    at += added;
    ++runs;
  }
  state.runs = runs;
  state.size += count;
}

void HistoryTables::drop_back(std::uint32_t row, std::uint32_t count) {
  Row& state = rows_[row];
  KVRM_CHECK_LE(count, state.size);
  if (count == 0) return;
  const std::size_t first = begin(row);
  const std::uint32_t keep = state.size - count;
  std::uint32_t size = state.size;
  std::uint32_t runs = state.runs;
  while (size > keep) {
    const std::uint32_t blocks = run_to(first + size - 1, size);
    count_run(blocks, false);
    size -= blocks;
    --runs;
  }
  if (size < keep) {  // the front of the last run stays
    tag(first + size, keep - size);
    count_run(keep - size, true);
    ++runs;
  }
  state = {.front = keep == 0 ? 0 : state.front,
           .size = keep,
           .runs = runs,
           .version = state.version + KVRM_MUTATE(tables_cut_keeps_version, 1U, 0U)};
}

void HistoryTables::drop_front(std::uint32_t row, std::uint32_t count) {
  Row& state = rows_[row];
  KVRM_CHECK_LE(count, state.size);
  if (count == 0) return;
  const std::size_t first = begin(row);
  std::uint32_t dropped = 0;
  std::uint32_t runs = state.runs;
  while (dropped < count) {
    const std::uint32_t blocks = run_from(first + dropped, state.size - dropped);
    count_run(blocks, false);
    dropped += blocks;
    --runs;
  }
  if (dropped > count + KVRM_MUTATE(tables_front_run_kept_whole, 0U,
                                    1U)) {  // the back of the first run stays
    tag(first + count, dropped - count);
    count_run(dropped - count, true);
    ++runs;
  }
  state = {.front = count == state.size ? 0 : state.front + count,
           .size = state.size - count,
           .runs = runs,
           .version = state.version + 1};
}

void HistoryTables::copy(std::uint32_t from, std::uint32_t to, std::uint32_t count) {
  KVRM_CHECK_EQ(rows_[to].size, 0U);
  const std::span<const BlockIndex> source = blocks(from).first(count);
  std::ranges::copy(source, room(to, count).begin());
  grow(to, count);
}

void HistoryTables::move_run(std::uint32_t row, std::uint32_t entry, BlockIndex first) {
  const std::uint32_t blocks = run_at(row, entry).blocks;
  Row& state = rows_[row];
  for (std::uint32_t i = 0; i < blocks; ++i) entries_[begin(row) + entry + i] = first + i;
  state.version += KVRM_MUTATE(tables_move_keeps_version, 1U, 0U);
  if (entry + blocks < state.size) join_with_next(row, entry, blocks);
  if (entry > 0) {
    const std::uint32_t previous = run_to(begin(row) + entry - 1, entry);
    join_with_next(row, entry - previous, previous);
  }
}

// Joins the run of these blocks that begins at `entry` with the one after it where they now adjoin.
void HistoryTables::join_with_next(std::uint32_t row, std::uint32_t entry, std::uint32_t blocks) {
  const std::size_t at = begin(row) + entry;
  const BlockIndex step = entries_[at + blocks] - entries_[at + blocks - 1];
  if (step == 0 || step > KVRM_MUTATE(tables_join_across_gap, 1U, 2U)) return;
  const std::uint32_t next = run_from(at + blocks, rows_[row].size - entry - blocks);
  count_run(blocks, false);
  count_run(next, false);
  count_run(blocks + next, true);
  tag(at, blocks + next);
  --rows_[row].runs;
}

std::size_t HistoryTables::bytes() const {
  return rows_.size() * sizeof(Row) + (entries_.size() + run_blocks_.size()) * sizeof(BlockIndex);
}

std::string HistoryTables::check_invariants() const {
  SizeHistogram expected{};
  std::uint64_t total = 0;
  for (std::uint32_t row = 0; row < rows_.size(); ++row) {
    const std::string name = "row " + std::to_string(row);
    const Row& state = rows_[row];
    if (state.front + state.size > row_blocks_) return name + " is over its end";
    std::uint32_t runs = 0;
    const std::span<const BlockIndex> table = blocks(row);
    for (std::uint32_t entry = 0; entry < table.size();) {
      std::uint32_t length = 1;
      while (entry + length < table.size() && table[entry + length] == table[entry] + length) {
        ++length;
      }
      const std::uint32_t* tags = &run_blocks_[begin(row) + entry];
      if (length > 1 && (tags[0] != length || tags[length - 1] != length))
        return name + " has a wrong run length";
      ++expected[size_class(length)];
      total += length;
      ++runs;
      entry += length;
    }
    if (runs != state.runs) return name + " miscounts its runs";
  }
  return expected == runs_by_blocks_ && total == blocks_ ? std::string()
                                                         : "runs and blocks do not add up";
}

}  // namespace kvrm
