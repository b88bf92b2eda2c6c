#include "engines/bench/kv_placement.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "engines/transport/group_planner.h"
#include "harness/base/check.h"
#include "harness/base/prng.h"
#include "harness/base/units.h"
#include "kernels/page/kv_element.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kOrderSeed = 11;
// A prime, so that the repetitions of the pattern lie differently in every block.
constexpr std::size_t kPatternElements = 1'048'573;

std::size_t table_bytes(std::size_t histories, std::size_t stride, std::size_t entry_bytes) {
  return round_up(histories * stride * entry_bytes, 64);
}

}  // namespace

std::vector<std::vector<BlockIndex>> random_runs(std::uint32_t histories, std::uint32_t max_blocks,
                                                 std::uint32_t run_blocks, std::uint64_t seed) {
  run_blocks = std::min(run_blocks, max_blocks);
  KVRM_CHECK_EQ(max_blocks % run_blocks, 0U);
  const std::uint32_t runs_each = max_blocks / run_blocks;
  std::vector<std::uint32_t> order(std::size_t{histories} * runs_each);
  std::iota(order.begin(), order.end(), 0U);
  RandomStream random(seed, "bench placement");
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  std::vector<std::vector<BlockIndex>> tables(histories);
  for (std::uint32_t history = 0; history < histories; ++history) {
    for (std::uint32_t block = 0; block < max_blocks; ++block) {
      const std::uint32_t run = order[std::size_t{history} * runs_each + block / run_blocks];
      tables[history].push_back(run * run_blocks + block % run_blocks);
    }
  }
  return tables;
}

void fill_kv(DType dtype, std::span<std::byte> memory) {
  const std::size_t element = dtype_bytes(dtype);
  std::vector<std::byte> pattern(kPatternElements * element);
  RandomStream random(1, "bench content");
  for (std::size_t i = 0; i < kPatternElements; ++i) {
    const auto raw = static_cast<std::int8_t>(random.next() & 0xff);
    store_element(dtype, pattern.data() + i * element, static_cast<float>(raw) / 128.0F);
  }
  for (std::size_t at = 0; at < memory.size(); at += pattern.size()) {
    std::memcpy(memory.data() + at, pattern.data(), std::min(pattern.size(), memory.size() - at));
  }
}

Result<KvPlacement> KvPlacement::make(const PlacementSpec& spec, const PlacedBatch& batch,
                                      Device& device) {
  KVRM_CHECK_EQ(batch.max_len % spec.block_tokens, 0U);
  const KvLayout layout{batch.dtype, batch.kv_heads, batch.head_dim, spec.block_tokens};
  const std::uint64_t history_bytes = batch.max_len / spec.block_tokens * layout.block_bytes();
  KvPlacement placement;
  KvSource source;
  source.addressing = spec.addressing;
  if (spec.addressing == KvAddressing::contiguous) {
    source.history_stride = history_bytes;
  } else if (const Status status = placement.place_tables(spec, batch, device, source); !status) {
    return tl::unexpected<Error>(status.error());
  }
  for (std::uint32_t layer = 0; layer < batch.layers; ++layer) {
    source.base = batch.pool + layer * history_bytes * batch.lengths.size();
    placement.layers_.push_back(
        {.layout = layout, .write_pool = const_cast<std::byte*>(source.base), .source = source});
  }
  return placement;
}

Status KvPlacement::place_tables(const PlacementSpec& spec, const PlacedBatch& batch,
                                 Device& device, KvSource& source) {
  const auto histories = static_cast<std::uint32_t>(batch.lengths.size());
  const std::uint32_t max_blocks = batch.max_len / spec.block_tokens;
  const auto orders = random_runs(histories, max_blocks, spec.run_blocks, kOrderSeed);
  const auto max_chunks = static_cast<std::uint32_t>(divide_up(batch.max_len, batch.chunk_tokens));
  const std::size_t block_bytes = table_bytes(histories, max_blocks, sizeof(BlockIndex));
  const std::size_t group_bytes = table_bytes(histories, max_blocks, sizeof(KvGroup));
  auto memory = device.allocate(MemoryPurpose::metadata,
                                block_bytes + group_bytes + histories * max_chunks * 4);
  if (!memory) return tl::unexpected<Error>(memory.error());
  tables_ = *std::move(memory);
  auto* blocks = reinterpret_cast<BlockIndex*>(tables_.data());
  auto* groups = reinterpret_cast<KvGroup*>(tables_.data() + block_bytes);
  auto* chunk_groups = reinterpret_cast<std::uint32_t*>(tables_.data() + block_bytes + group_bytes);
  for (std::uint32_t history = 0; history < histories; ++history) {
    const auto live =
        static_cast<std::size_t>(divide_up(batch.lengths[history], spec.block_tokens));
    const std::span<const BlockIndex> table(orders[history].data(), live);
    groups_.push_back(plan_groups(table, {}));
    const auto chunks = plan_chunk_groups(groups_.back(), spec.block_tokens, batch.chunk_tokens);
    std::copy(table.begin(), table.end(), blocks + std::size_t{history} * max_blocks);
    std::copy(groups_.back().begin(), groups_.back().end(),
              groups + std::size_t{history} * max_blocks);
    std::copy(chunks.begin(), chunks.end(), chunk_groups + std::size_t{history} * max_chunks);
  }
  source.prefetch_runs = spec.run_blocks > 1 ? 1 : 0;
  source.block_table = blocks;
  source.groups = groups;
  source.chunk_group = chunk_groups;
  source.table_stride = max_blocks;
  source.chunk_stride = max_chunks;
  return {};
}

}  // namespace kvrm
