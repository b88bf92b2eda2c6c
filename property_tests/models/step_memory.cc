#include "property_tests/models/step_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "kernels/rowwise/rowwise.h"

namespace kvrm::watched {
namespace {

constexpr std::byte kPoison{0xff};

std::uint64_t bytes_of_lists(const WatchedDevice& device) {
  std::uint64_t bytes = 0;
  for (const auto* args : device.args_of<CopyBlocksArgs>("copy_blocks")) {
    for (std::uint32_t i = 0; i < *args->count; ++i) {
      bytes += args->copies[i].blocks * args->block_bytes * args->layers;
    }
  }
  for (const auto* args : device.args_of<StageGroupsArgs>("stage_groups")) {
    for (std::uint32_t i = 0; i < *args->count; ++i) {
      bytes += args->copies[i].blocks * args->block_bytes * args->layers;
    }
  }
  return bytes;
}

template <class Args>
std::uint64_t bytes_of_groups(const Args& args, std::uint32_t row) {
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < args.group_stride; ++i) {
    bytes += args.groups[std::size_t{row} * args.group_stride + i].blocks * args.block_bytes;
  }
  return bytes;
}

// What is behind the length, element by element: keys are transposed.
void poison_tail(const KvLayout& layout, std::byte* block, std::uint32_t first) {
  const std::size_t element = dtype_bytes(layout.dtype);
  for (std::uint32_t token = first; token < layout.block_tokens; ++token) {
    for (std::uint32_t head = 0; head < layout.kv_heads; ++head) {
      for (std::uint32_t dim = 0; dim < layout.head_dim; ++dim) {
        std::fill_n(block + layout.key_offset(head, token, dim), element, kPoison);
        std::fill_n(block + layout.value_offset(head, token, dim), element, kPoison);
      }
    }
  }
}

// Whether the first `tokens` positions of two blocks are the same.
bool same_tokens(const KvLayout& layout, const std::byte* a, const std::byte* b,
                 std::uint32_t tokens) {
  const std::size_t element = dtype_bytes(layout.dtype);
  const auto same = [&](std::uint64_t offset) {
    return std::equal(a + offset, a + offset + element, b + offset);
  };
  for (std::uint32_t token = 0; token < tokens; ++token) {
    for (std::uint32_t head = 0; head < layout.kv_heads; ++head) {
      for (std::uint32_t dim = 0; dim < layout.head_dim; ++dim) {
        if (!same(layout.key_offset(head, token, dim))) return false;
        if (!same(layout.value_offset(head, token, dim))) return false;
      }
    }
  }
  return true;
}

}  // namespace

std::uint64_t StepMemory::copied_bytes() const {
  std::uint64_t bytes = bytes_of_lists(device_);
  for (const auto* args : device_.args_of<StageGroupsArgs>("stage_groups")) {
    if (*args->stage_all == 0) continue;
    for (std::uint32_t row = 0; row < args->rows; ++row) {
      if (args->length[row] > 0) bytes += bytes_of_groups(*args, row) * args->layers;
    }
  }
  const Tables now = tables();
  for (const auto* args : device_.args_of<GatherGroupsArgs>("gather_groups")) {
    for (std::uint32_t row = 0; row < now.rows; ++row) bytes += bytes_of_groups(*args, row);
  }
  // New positions go into the view as well as into the pool.
  for (const Op& op : device_.ops()) {
    if (!is_op(op, "append_kv")) continue;
    const auto& args = *static_cast<const AppendKvArgs*>(op.args);
    const Area* area = device_.area_of(args.pool);
    if (area == nullptr || area->purpose != MemoryPurpose::kv_view) continue;
    const auto written = static_cast<std::uint64_t>(std::count_if(
        args.write_slot, args.write_slot + op.items, [](auto slot) { return slot != kNoWrite; }));
    bytes += written * args.layout.block_bytes() / args.layout.block_tokens;
  }
  return bytes;
}

bool StepMemory::staged_all() const {
  return std::ranges::any_of(device_.args_of<StageGroupsArgs>("stage_groups"),
                             [](const auto* args) { return *args->stage_all != 0; });
}

StepMemory::Tables StepMemory::tables() const {
  const AttentionArgs& attention = *device_.args_of<AttentionArgs>("attention").front();
  Tables tables{.length = attention.length, .rows = attention.rows};
  const auto gathers = device_.args_of<GatherGroupsArgs>("gather_groups");
  const auto stages = device_.args_of<StageGroupsArgs>("stage_groups");
  if (attention.source.addressing == KvAddressing::groups) {
    tables.groups = attention.source.groups;
    tables.stride = attention.source.table_stride;
  } else if (!gathers.empty()) {
    tables.groups = gathers.front()->groups;
    tables.stride = gathers.front()->group_stride;
  } else if (!stages.empty()) {
    tables.groups = stages.front()->groups;
    tables.stride = stages.front()->group_stride;
  }
  return tables;
}

std::vector<BlockIndex> StepMemory::blocks_of(const Tables& tables, std::uint32_t row) {
  std::vector<BlockIndex> blocks;
  const KvGroup* groups = tables.groups + std::size_t{row} * tables.stride;
  for (std::uint32_t i = 0; i < tables.stride && groups[i].blocks > 0; ++i) {
    for (std::uint32_t b = 0; b < groups[i].blocks; ++b) blocks.push_back(groups[i].physical + b);
  }
  return blocks;
}

// What the layer's new positions are written to, which is never a view.
const std::byte* StepMemory::pool_of(std::uint32_t layer) const {
  for (const auto* args : device_.args_of<AppendKvArgs>("append_kv")) {
    if (device_.area_of(args->pool)->purpose != MemoryPurpose::kv_pool) continue;
    if (layer-- == 0) return args->pool;
  }
  return nullptr;
}

std::string StepMemory::compare_views() {
  const auto attentions = device_.args_of<AttentionArgs>("attention");
  const bool each_layer = device_.args_of<GatherGroupsArgs>("gather_groups").empty();
  if (attentions.front()->source.addressing != KvAddressing::contiguous) return {};
  for (std::uint32_t layer = 0; layer < attentions.size(); ++layer) {
    // A view of one layer at a time holds the last one now.
    if (!each_layer && layer + 1 < attentions.size()) continue;
    const std::string difference = compare_layer(*attentions[layer], pool_of(layer));
    if (!difference.empty()) return fmt::format("layer {}: {}", layer, difference);
  }
  return {};
}

std::string StepMemory::compare_layer(const AttentionArgs& attention, const std::byte* pool) {
  const Tables now = tables();
  const KvLayout& layout = attention.layout;
  for (std::uint32_t row = 0; row < now.rows; ++row) {
    if (now.length[row] == 0) continue;
    const std::byte* view = attention.source.base + row * attention.source.history_stride;
    const std::vector<BlockIndex> blocks = blocks_of(now, row);
    for (std::uint32_t b = 0; b * layout.block_tokens < now.length[row]; ++b) {
      const std::uint32_t tokens =
          std::min(layout.block_tokens, now.length[row] - b * layout.block_tokens);
      ++counts.staged_blocks;
      if (!same_tokens(layout, view + b * layout.block_bytes(),
                       pool + blocks[b] * layout.block_bytes(), tokens)) {
        return fmt::format("slot {} shows another block than {} at {}", row, blocks[b], b);
      }
    }
  }
  return {};
}

void StepMemory::poison_what_is_not_live() {
  const Tables now = tables();
  const auto attentions = device_.args_of<AttentionArgs>("attention");
  const KvLayout& layout = attentions.front()->layout;
  std::map<BlockIndex, std::uint32_t> live;  // tokens
  for (std::uint32_t row = 0; row < now.rows; ++row) {
    const std::vector<BlockIndex> blocks = blocks_of(now, row);
    for (std::uint32_t b = 0; b * layout.block_tokens < now.length[row]; ++b) {
      live[blocks[b]] = std::min(layout.block_tokens, now.length[row] - b * layout.block_tokens);
    }
  }
  std::set<BlockIndex> in_tables;
  for (const auto& [block, tokens] : live) {
    in_tables.insert(block);
    counts.reused_blocks += ever_.contains(block) && !in_tables_.contains(block) ? 1 : 0;
    counts.poisoned_tails += layout.block_tokens - tokens;
  }
  in_tables_ = in_tables;
  ever_.insert(in_tables.begin(), in_tables.end());
  const Area* area = device_.area_of(pool_of(0));
  const auto layers = static_cast<std::uint32_t>(attentions.size());
  const auto blocks = static_cast<BlockIndex>(area->bytes / layers / layout.block_bytes());
  for (std::uint32_t layer = 0; layer < layers; ++layer) {
    auto* pool = const_cast<std::byte*>(pool_of(layer));
    for (BlockIndex block = 0; block < blocks; ++block) {
      const auto found = live.find(block);
      std::byte* place = pool + block * layout.block_bytes();
      if (found != live.end()) poison_tail(layout, place, found->second);
      if (found != live.end()) continue;
      std::fill_n(place, layout.block_bytes(), kPoison);
      ++counts.poisoned_blocks;
    }
    const KvSource& source = attentions[layer]->source;
    if (source.addressing != KvAddressing::contiguous) continue;
    auto* view = const_cast<std::byte*>(source.base);
    for (std::uint32_t row = 0; row < now.rows; ++row) {
      if (now.length[row] > 0) continue;
      std::fill_n(view + row * source.history_stride, source.history_stride, kPoison);
    }
  }
}

void StepMemory::poison_activations() {
  for (const auto* args : device_.args_of<ViewSlotsArgs>("view_slots")) {
    std::fill_n(args->write_slot, args->rows, std::uint64_t{0});  // a place of slot 0
  }
  std::vector<std::pair<TokenId*, std::vector<TokenId>>> sampled;
  for (const Op& op : device_.ops()) {
    if (!is_op(op, "argmax")) continue;
    TokenId* token = static_cast<const ArgmaxArgs*>(op.args)->token;
    sampled.push_back({token, {token, token + op.items}});
  }
  for (const Area& area : device_.areas()) {
    if (area.purpose == MemoryPurpose::activations) std::fill_n(area.data, area.bytes, kPoison);
  }
  for (const auto& [place, tokens] : sampled) std::ranges::copy(tokens, place);
}

}  // namespace kvrm::watched
