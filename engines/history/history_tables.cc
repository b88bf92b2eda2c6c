#include "engines/history/history_tables.h"

#include <algorithm>
#include <bit>

#include "harness/base/check.h"

namespace kvrm {
namespace {

std::size_t size_class(std::uint32_t blocks) {
  const auto exponent = static_cast<std::size_t>(std::bit_width(blocks) - 1);
  return std::min(exponent, SizeHistogram().size() - 1);
}

}  // namespace

HistoryTables::HistoryTables(std::uint32_t rows, std::uint32_t row_blocks)
    : row_blocks_(row_blocks),
      rows_(rows),
      entries_(std::size_t{rows} * row_blocks),
      run_blocks_(entries_.size()) {}

void HistoryTables::count_run(std::uint32_t blocks, bool added) {
  std::uint64_t& count = runs_by_blocks_[size_class(blocks)];
  count += added ? 1 : ~std::uint64_t{0};
}

BlockRun HistoryTables::run_at(std::uint32_t row, std::uint32_t entry) const {
  KVRM_CHECK_LT(entry, rows_[row].size);
  const std::size_t at = begin(row) + entry;
  KVRM_CHECK(entry == 0 || entries_[at] != entries_[at - 1] + 1);
  return {entries_[at], run_blocks_[at]};
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
  const std::size_t first = begin(row);
  const std::size_t end = first + state.size + count;
  for (std::size_t at = first + state.size; at < end; ++at) {
    if (at == first || entries_[at] != entries_[at - 1] + 1) {
      ++state.runs;
      run_blocks_[at] = 1;
      count_run(1, true);
      continue;
    }
    const std::uint32_t blocks = run_blocks_[at - 1] + 1;
    tag(at + 1 - blocks, blocks);
    if (std::has_single_bit(blocks)) {
      count_run(blocks - 1, false);
      count_run(blocks, true);
    }
  }
  state.size += count;
}

void HistoryTables::drop_back(std::uint32_t row, std::uint32_t count) {
  Row& state = rows_[row];
  KVRM_CHECK_LE(count, state.size);
  if (count == 0) return;
  ++state.version;
  const std::size_t first = begin(row);
  while (count > 0) {
    const std::uint32_t blocks = run_blocks_[first + state.size - 1];
    const std::uint32_t dropped = std::min(blocks, count);
    count_run(blocks, false);
    if (dropped == blocks) {
      --state.runs;
    } else {
      tag(first + state.size - blocks, blocks - dropped);
      count_run(blocks - dropped, true);
    }
    state.size -= dropped;
    count -= dropped;
  }
  if (state.size == 0) state.front = 0;
}

void HistoryTables::drop_front(std::uint32_t row, std::uint32_t count) {
  Row& state = rows_[row];
  KVRM_CHECK_LE(count, state.size);
  if (count == 0) return;
  ++state.version;
  while (count > 0) {
    const std::size_t first = begin(row);
    const std::uint32_t blocks = run_blocks_[first];
    const std::uint32_t dropped = std::min(blocks, count);
    count_run(blocks, false);
    if (dropped == blocks) {
      --state.runs;
    } else {
      tag(first + dropped, blocks - dropped);
      count_run(blocks - dropped, true);
    }
    state.front += dropped;
    state.size -= dropped;
    count -= dropped;
  }
  if (state.size == 0) state.front = 0;
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
  ++state.version;
  if (entry + blocks < state.size) join_with_next(row, entry);
  if (entry > 0) join_with_next(row, entry - run_blocks_[begin(row) + entry - 1]);
}

// Joins the run that begins at `entry` with the one after it where their blocks now adjoin.
void HistoryTables::join_with_next(std::uint32_t row, std::uint32_t entry) {
  const std::size_t at = begin(row) + entry;
  const std::uint32_t blocks = run_blocks_[at];
  if (entries_[at + blocks] != entries_[at + blocks - 1] + 1) return;
  const std::uint32_t next = run_blocks_[at + blocks];
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
      if (tags[0] != length || tags[length - 1] != length) return name + " has a wrong run length";
      ++expected[size_class(length)];
      ++runs;
      entry += length;
    }
    if (runs != state.runs) return name + " miscounts its runs";
  }
  return expected == runs_by_blocks_ ? std::string() : "runs by size do not add up";
}

}  // namespace kvrm
