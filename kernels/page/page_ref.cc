#include "harness/base/mutation.h"
#include "kernels/page/copy_bytes.h"
#include "kernels/page/kv_element.h"
#include "kernels/page/page.h"
#include "kernels/page/page_kernels.h"

namespace kvrm {
namespace {

void append_kv(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const AppendKvArgs*>(raw_args);
  const std::uint64_t slot = args.write_slot[row];
  if (slot == kNoWrite) return;
  const KvLayout& layout = args.layout;
  std::byte* block = args.pool + (slot / layout.block_tokens) * layout.block_bytes();
  const auto token = static_cast<std::uint32_t>(slot % layout.block_tokens);
  const float* key = args.key + std::size_t{row} * args.row_stride;
  const float* value = args.value + std::size_t{row} * args.row_stride;
  for (std::uint32_t head = 0; head < layout.kv_heads; ++head) {
    for (std::uint32_t dim = 0; dim < layout.head_dim; ++dim, ++key, ++value) {
      store_element(layout.dtype, block + layout.key_offset(head, token, dim), *key);
      store_element(layout.dtype, block + layout.value_offset(head, token, dim), *value);
    }
  }
}

// What a launch reads of all histories together.
std::uint64_t gathered_bytes(const GatherGroupsArgs& args) {
  std::uint64_t tokens = 0;
  for (std::uint32_t row = 0; row < args.rows; ++row) tokens += args.length[row];
  return tokens * args.token_bytes;
}

void gather_groups(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const GatherGroupsArgs*>(raw_args);
  const ItemCopies copies(copy_loop_of(gathered_bytes(args)));
  const KvGroup* groups = args.groups + std::size_t{row} * args.group_stride;
  std::byte* view = args.view + row * args.view_stride;
  for (std::uint32_t entry = 0; entry < args.group_stride && groups[entry].blocks > 0; ++entry) {
    if (KVRM_MUTATE(gather_ends_at_third_group, false, entry == 3)) break;
    const KvGroup& group = groups[entry];
    const KvGroup& next = groups[entry + 1 < args.group_stride ? entry + 1 : entry];
    copies.add({.source = args.pool + group.physical * args.block_bytes,
                .destination = view + group.logical * args.block_bytes,
                .bytes = group.blocks * args.block_bytes,
                .next = args.pool + next.physical * args.block_bytes});
  }
}

// Of a list of copies in every layer.
template <class Args>
std::uint64_t listed_bytes(const Args& args) {
  std::uint64_t blocks = 0;
  for (std::uint32_t i = 0; i < *args.count; ++i) blocks += args.copies[i].blocks;
  return blocks * args.layers * args.block_bytes;
}

void copy_blocks(const void* raw_args, std::uint32_t item, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const CopyBlocksArgs*>(raw_args);
  const std::uint64_t pairs = std::uint64_t{*args.count} * args.layers;
  const std::uint64_t first = item + KVRM_MUTATE(copy_last_layer_missing, 0U, args.items);
  const auto source = [&](std::uint64_t pair) {
    return args.pool + (pair % args.layers) * args.layer_bytes +
           args.copies[pair / args.layers].source * args.block_bytes;
  };
  const ItemCopies copies(copy_loop_of(listed_bytes(args)));
  for (std::uint64_t pair = first; pair < pairs; pair += args.items) {
    const BlockCopy& copy = args.copies[pair / args.layers];
    std::byte* layer = args.pool + (pair % args.layers) * args.layer_bytes;
    copies.add({.source = source(pair),
                .destination = layer + copy.destination * args.block_bytes,
                .bytes = copy.blocks * args.block_bytes,
                .next = source(pair + args.items < pairs ? pair + args.items : pair)});
  }
}

const std::byte* staged_source(const StageGroupsArgs& args, std::uint32_t physical,
                               std::uint64_t layer) {
  return args.pool + layer * args.layer_bytes + physical * args.block_bytes;
}

ByteCopy stage_copy(const StageGroupsArgs& args, const StageCopy& copy, std::uint64_t layer) {
  std::byte* view = args.view + layer * args.view_layer_bytes + copy.slot * args.view_stride;
  const std::uint64_t blocks =
      copy.blocks - KVRM_MUTATE(stage_last_block_missing, 0U, copy.blocks > 1 ? 1U : 0U);
  return {.source = staged_source(args, copy.physical, layer),
          .destination = view + copy.logical * args.block_bytes,
          .bytes = blocks * args.block_bytes};
}

// Of all groups of the rows that have a length.
std::uint64_t staged_rows_bytes(const StageGroupsArgs& args) {
  std::uint64_t blocks = 0;
  for (std::uint32_t row = 0; row < args.rows; ++row) {
    if (args.length[row] == 0) continue;
    const KvGroup* groups = args.groups + std::size_t{row} * args.group_stride;
    for (std::uint32_t i = 0; i < args.group_stride && groups[i].blocks > 0; ++i) {
      blocks += groups[i].blocks;
    }
  }
  return blocks * args.layers * args.block_bytes;
}

// Item i takes every items-th (row, layer) pair.
void stage_rows(const StageGroupsArgs& args, std::uint32_t item) {
  const std::uint64_t pairs = std::uint64_t{args.rows} * args.layers;
  const ItemCopies copies(copy_loop_of(staged_rows_bytes(args)));
  for (std::uint64_t pair = item; pair < pairs; pair += args.items) {
    const auto row = static_cast<std::uint32_t>(pair / args.layers);
    const std::uint64_t layer = pair % args.layers;
    if (args.length[row] == 0) continue;
    const KvGroup* groups = args.groups + std::size_t{row} * args.group_stride;
    for (std::uint32_t i = 0; i < args.group_stride && groups[i].blocks > 0; ++i) {
      ByteCopy copy = stage_copy(args,
                                 {.slot = row,
                                  .logical = groups[i].logical,
                                  .physical = groups[i].physical,
                                  .blocks = groups[i].blocks},
                                 layer);
      const KvGroup& next = groups[i + 1 < args.group_stride ? i + 1 : i];
      copy.next = staged_source(args, next.physical, layer);
      copies.add(copy);
    }
  }
}

void stage_groups(const void* raw_args, std::uint32_t item, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const StageGroupsArgs*>(raw_args);
  if (args.stage_all != nullptr && *args.stage_all != 0) return stage_rows(args, item);
  const std::uint64_t pairs = std::uint64_t{*args.count} * args.layers;
  const ItemCopies copies(copy_loop_of(listed_bytes(args)));
  for (std::uint64_t pair = item; pair < pairs; pair += args.items) {
    ByteCopy copy = stage_copy(args, args.copies[pair / args.layers], pair % args.layers);
    const std::uint64_t next = pair + args.items < pairs ? pair + args.items : pair;
    copy.next = staged_source(args, args.copies[next / args.layers].physical, next % args.layers);
    copies.add(copy);
  }
}

void view_slots(const void* raw_args, std::uint32_t /*item*/, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const ViewSlotsArgs*>(raw_args);
  for (std::uint32_t row = 0; row < args.rows; ++row) {
    const std::uint32_t length = args.length[row];
    args.write_slot[row] =
        length == 0 ? kNoWrite
                    : args.row_tokens * row + length - KVRM_MUTATE(view_slot_one_early, 1, 2);
  }
}

constexpr Kernel kAppendKv = {"append_kv/reference", append_kv};
constexpr Kernel kGatherGroups = {"gather_groups/common", gather_groups};
constexpr Kernel kCopyBlocks = {"copy_blocks/common", copy_blocks};
constexpr Kernel kStageGroups = {"stage_groups/common", stage_groups};
constexpr Kernel kViewSlots = {"view_slots/common", view_slots};

}  // namespace

const Kernel& reference::append_kv_kernel() { return kAppendKv; }
const Kernel& gather_groups_kernel() { return kGatherGroups; }
const Kernel& copy_blocks_kernel() { return kCopyBlocks; }
const Kernel& stage_groups_kernel() { return kStageGroups; }
const Kernel& view_slots_kernel() { return kViewSlots; }

float load_key(const KvLayout& layout, const std::byte* block, std::uint32_t head,
               std::uint32_t token, std::uint32_t dim) {
  return load_element(layout.dtype, block + layout.key_offset(head, token, dim));
}

float load_value(const KvLayout& layout, const std::byte* block, std::uint32_t head,
                 std::uint32_t token, std::uint32_t dim) {
  return load_element(layout.dtype, block + layout.value_offset(head, token, dim));
}

}  // namespace kvrm
