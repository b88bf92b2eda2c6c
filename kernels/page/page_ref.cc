#include <cstring>

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

void gather_groups(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const GatherGroupsArgs*>(raw_args);
  const KvGroup* groups = args.groups + std::size_t{row} * args.group_stride;
  std::byte* view = args.view + row * args.view_stride;
  for (std::uint32_t entry = 0; entry < args.group_stride && groups[entry].blocks > 0; ++entry) {
    const KvGroup& group = groups[entry];
    std::memcpy(view + group.logical * args.block_bytes,
                args.pool + group.physical * args.block_bytes, group.blocks * args.block_bytes);
  }
}

void copy_blocks(const void* raw_args, std::uint32_t item, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const CopyBlocksArgs*>(raw_args);
  const std::uint64_t pairs = std::uint64_t{*args.count} * args.layers;
  for (std::uint64_t pair = item; pair < pairs; pair += args.items) {
    const BlockCopy& copy = args.copies[pair / args.layers];
    std::byte* layer = args.pool + (pair % args.layers) * args.layer_bytes;
    std::memcpy(layer + copy.destination * args.block_bytes, layer + copy.source * args.block_bytes,
                copy.blocks * args.block_bytes);
  }
}

void stage_groups(const void* raw_args, std::uint32_t item, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const StageGroupsArgs*>(raw_args);
  const std::uint64_t pairs = std::uint64_t{*args.count} * args.layers;
  for (std::uint64_t pair = item; pair < pairs; pair += args.items) {
    const StageCopy& copy = args.copies[pair / args.layers];
    const std::uint64_t layer = pair % args.layers;
    std::byte* view = args.view + layer * args.view_layer_bytes + copy.slot * args.view_stride;
    std::memcpy(view + copy.logical * args.block_bytes,
                args.pool + layer * args.layer_bytes + copy.physical * args.block_bytes,
                copy.blocks * args.block_bytes);
  }
}

constexpr Kernel kAppendKv = {"append_kv/reference", append_kv};
constexpr Kernel kGatherGroups = {"gather_groups/common", gather_groups};
constexpr Kernel kCopyBlocks = {"copy_blocks/common", copy_blocks};
constexpr Kernel kStageGroups = {"stage_groups/common", stage_groups};

}  // namespace

const Kernel& reference::append_kv_kernel() { return kAppendKv; }
const Kernel& gather_groups_kernel() { return kGatherGroups; }
const Kernel& copy_blocks_kernel() { return kCopyBlocks; }
const Kernel& stage_groups_kernel() { return kStageGroups; }

float load_key(const KvLayout& layout, const std::byte* block, std::uint32_t head,
               std::uint32_t token, std::uint32_t dim) {
  return load_element(layout.dtype, block + layout.key_offset(head, token, dim));
}

float load_value(const KvLayout& layout, const std::byte* block, std::uint32_t head,
                 std::uint32_t token, std::uint32_t dim) {
  return load_element(layout.dtype, block + layout.value_offset(head, token, dim));
}

}  // namespace kvrm
