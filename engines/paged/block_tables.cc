#include "engines/paged/block_tables.h"

#include <algorithm>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/mutation.h"

namespace kvrm {

Result<BlockTables> BlockTables::make(Device& device, std::uint32_t slots,
                                      std::uint32_t max_blocks) {
  BlockTables tables;
  Result<Buffer> buffer = device.allocate(MemoryPurpose::metadata,
                                          std::size_t{slots} * max_blocks * sizeof(BlockIndex));
  if (!buffer) return tl::unexpected(buffer.error());
  tables.buffer_ = std::move(*buffer);
  tables.max_blocks_ = max_blocks;
  tables.filled_.resize(slots);
  tables.versions_.resize(slots);
  std::ranges::fill(tables.buffer_.as<BlockIndex>(), 0);
  return tables;
}

void BlockTables::sync(SlotIndex slot, std::span<const BlockIndex> table, std::uint64_t version) {
  std::uint32_t& filled = filled_[slot];
  if (KVRM_MUTATE(paged_table_kept_after_remap, !only_grows(slot, version), false)) filled = 0;
  versions_[slot] = version;
  KVRM_CHECK_LE(filled, table.size());
  const std::span<BlockIndex> entries = row(slot);
  for (; filled < table.size(); ++filled) entries[filled] = table[filled];
}

void BlockTables::clear(SlotIndex slot) {
  std::ranges::fill(row(slot).first(filled_[slot]), 0);
  filled_[slot] = 0;
}

}  // namespace kvrm
