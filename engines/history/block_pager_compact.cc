// Compaction: a cursor goes round over the runs of all histories and joins a run with the next one
// where the smaller of the two, or else the other, fits into free blocks beside its neighbour.
#include "engines/history/block_pager.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

// A look is one history, run or block examined.
constexpr std::uint64_t kLooksPerBlock = 16;
constexpr std::uint64_t kLooksAtLeast = 64;

}  // namespace

std::uint32_t BlockPager::compact(std::uint32_t budget_blocks) {
  KVRM_CHECK(spec_.compacts);
  if (budget_blocks == 0) return 0;
  std::uint64_t looks = kLooksAtLeast + kLooksPerBlock * budget_blocks;
  std::uint32_t moved = 0;
  // The table may have changed since the last call.
  cursor_.entry = cursor_.entry < tables_.size(cursor_.history)
                      ? tables_.run_begin(cursor_.history, cursor_.entry)
                      : 0;
  std::uint32_t histories_left = spec_.max_histories;
  while (looks > 0 && moved < budget_blocks && histories_left > 0) {
    const std::uint32_t size = tables_.size(cursor_.history);
    if (cursor_.entry < size &&
        cursor_.entry + tables_.run_at(cursor_.history, cursor_.entry).blocks < size) {
      moved += join_at_cursor(budget_blocks - moved, looks);
      continue;
    }
    --looks;
    --histories_left;
    cursor_ = {(cursor_.history + 1) % spec_.max_histories, 0};
  }
  return moved;
}

// Joins the run at the cursor, which is not its table's last one, with the next, or steps over it.
std::uint32_t BlockPager::join_at_cursor(std::uint32_t budget, std::uint64_t& looks) {
  const BlockRun run = tables_.run_at(cursor_.history, cursor_.entry);
  const std::uint32_t next_entry = cursor_.entry + run.blocks;
  const BlockRun next = tables_.run_at(cursor_.history, next_entry);
  const auto try_next = [&] {
    looks -= std::min<std::uint64_t>(looks, 1 + std::min(next.blocks, budget));
    return KVRM_MUTATE(pager_compaction_over_budget, next.blocks <= budget, true) &&
           move_if_possible(next_entry, next, std::int64_t{run.first} + run.blocks);
  };
  const auto try_run = [&] {
    looks -= std::min<std::uint64_t>(looks, 1 + std::min(run.blocks, budget));
    return run.blocks <= budget &&
           move_if_possible(cursor_.entry, run, std::int64_t{next.first} - run.blocks);
  };
  std::uint32_t moved = 0;
  if (next.blocks <= run.blocks) {
    moved = try_next() ? next.blocks : try_run() ? run.blocks : 0;
  } else {
    moved = try_run() ? run.blocks : try_next() ? next.blocks : 0;
  }
  // A run that was joined may be joined once more; it may also have met the one before it.
  cursor_.entry = moved == 0 ? next_entry : tables_.run_begin(cursor_.history, cursor_.entry);
  return moved;
}

bool BlockPager::move_if_possible(std::uint32_t entry, BlockRun run, std::int64_t first) {
  if (first < 0) return false;
  const auto to = static_cast<BlockIndex>(first);
  if (!pool_.is_free({to, run.blocks})) return false;
  for (std::uint32_t i = 0; i < run.blocks; ++i) {
    if (KVRM_MUTATE(pager_compaction_moves_shared, !pool_.is_movable(run.first + i), false))
      return false;
  }
  move_run(entry, run, to);
  return true;
}

void BlockPager::move_run(std::uint32_t entry, BlockRun run, BlockIndex first) {
  const std::uint32_t index = cursor_.history;
  // What is counted for a block that was shared does not move with it.
  if (KVRM_MUTATE(pager_compaction_uncounted_tail, entry + run.blocks == tables_.size(index),
                  false))
    refresh_tail(index);
  const std::uint32_t runs = tables_.runs(index);
  pool_.move_run(run, first);
  tables_.move_run(index, entry, first);
  counters_.compacted_blocks += run.blocks;
  counters_.merged_runs += runs - tables_.runs(index);
}

}  // namespace kvrm
