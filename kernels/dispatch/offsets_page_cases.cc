#include <vector>

#include "kernels/dispatch/offsets_case.h"
#include "kernels/page/page.h"

namespace kvrm::offsets {
namespace {

// A block is a row of floats.
constexpr std::uint64_t kBlockBytes = kWidth * sizeof(float);

// Slot 1 of layer 1, by the list and by the groups of the row.
Output stage(const KernelSet& kernels, std::uint32_t row, std::uint32_t stage_all) {
  const std::uint32_t rows = row + 1;  // of a layer of the pool, and of a slot of the view
  const Floats pool = rows_up_to(2 * rows);
  const Floats view = rows_up_to(4 * rows);
  fill(pool, rows + row, 20);
  const StageCopy copy = {1, row, row, 1};
  const std::uint32_t count = stage_all == 0 ? 1 : 0;
  const std::vector<std::uint32_t> length = {0, 1};
  const std::vector<KvGroup> groups = {{}, {row, row, 1, 0}};
  StageGroupsArgs args;
  args.block_bytes = kBlockBytes;
  args.layer_bytes = args.view_stride = rows * kBlockBytes;
  args.pool = reinterpret_cast<const std::byte*>(pool.data());
  args.view = reinterpret_cast<std::byte*>(view.data());
  args.view_layer_bytes = 2 * rows * kBlockBytes;
  args.copies = &copy;
  args.count = &count;
  args.layers = 2;
  args.items = 1;
  args.rows = 2;
  args.group_stride = 1;
  args.stage_all = &stage_all;
  args.length = length.data();
  args.groups = groups.data();
  run_item(kernels.stage_groups, args, 0);
  return read(view, 3 * rows + row);
}

}  // namespace

// Row `row` goes to position `row` of the pool.
Output append_kv(const KernelSet& kernels, std::uint32_t row) {
  const Floats key = rows_up_to(row);
  const Floats value = rows_up_to(row);
  const Sparse<std::uint64_t> write_slot(row + 1);
  const std::uint64_t block = row / kLayout.block_tokens;
  const Sparse<std::byte> pool((block + 1) * kLayout.block_bytes());
  fill(key, row, 15);
  fill(value, row, 16);
  write_slot[row] = row;
  run_item(kernels.append_kv,
           AppendKvArgs{kLayout, pool.data(), key.data(), value.data(), write_slot.data(), kWidth},
           row);
  Output output;
  for (std::uint32_t dim = 0; dim < kWidth; ++dim) {
    const std::byte* at = pool.data() + block * kLayout.block_bytes();
    output.push_back(load_key(kLayout, at, 0, row % kLayout.block_tokens, dim));
    output.push_back(load_value(kLayout, at, 0, row % kLayout.block_tokens, dim));
  }
  return output;
}

// Block `row` of the pool into block `row` of the view of row `row`.
Output gather_groups(const KernelSet& kernels, std::uint32_t row) {
  const Floats pool = rows_up_to(row);
  const Floats view = rows_up_to(2 * row);
  const Sparse<KvGroup> groups(row + 1);
  fill(pool, row, 17);
  groups[row] = {row, row, 1, 0};
  run_item(
      kernels.gather_groups,
      GatherGroupsArgs{kBlockBytes, reinterpret_cast<const std::byte*>(pool.data()),
                       reinterpret_cast<std::byte*>(view.data()), kBlockBytes, groups.data(), 1},
      row);
  return read(view, 2 * row);
}

// From block `row` to the next but one, in layers that begin as far apart.
Output copy_blocks(const KernelSet& kernels, std::uint32_t row) {
  const std::uint32_t layer_rows = row + 3;
  const Floats pool = rows_up_to(2 * layer_rows);
  fill(pool, row, 18);
  fill(pool, layer_rows + row, 19);
  const BlockCopy copy = {row, row + 2, 1, 0};
  const std::uint32_t count = 1;
  run_item(kernels.copy_blocks,
           CopyBlocksArgs{kBlockBytes, layer_rows * kBlockBytes,
                          reinterpret_cast<std::byte*>(pool.data()), &copy, &count, 2, 1},
           0);
  return join(read(pool, row + 2), read(pool, layer_rows + row + 2));
}

Output stage_groups(const KernelSet& kernels, std::uint32_t row) {
  return join(stage(kernels, row, 0), stage(kernels, row, 1));
}

// A row's place is rows of so many positions before it; the answer is where it is beyond them.
Output view_slots(const KernelSet& kernels, std::uint32_t row) {
  const std::uint64_t row_tokens = std::uint64_t{row} + 7;
  const std::vector<std::uint32_t> length = {0, 0, 0, 4};
  std::vector<std::uint64_t> slots(4);
  ViewSlotsArgs args;
  args.rows = 4;
  args.row_tokens = row_tokens * 16;
  args.length = length.data();
  args.write_slot = slots.data();
  run_item(kernels.view_slots, args, 0);
  for (const std::uint32_t empty : {0U, 1U, 2U}) KVRM_CHECK_EQ(slots[empty], kNoWrite);
  return {static_cast<float>(slots[3] - 3 * args.row_tokens)};
}

}  // namespace kvrm::offsets
