// A commit channel, a step image and a builder in plain memory, and a rebuild of the image from
// slots and block tables alone: what the descriptor's tests compare against. Tests only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "engines/descriptor/apply_step.h"
#include "engines/descriptor/descriptor_builder.h"
#include "engines/descriptor/record_check.h"
#include "engines/transport/group_planner.h"
#include "kernels/linear/linear.h"

namespace kvrm::models {

// One slot as the engine means it.
struct SlotTruth {
  bool active = false;
  TokenId token = kNoToken;
  std::uint32_t length = 0;
  std::uint64_t write_slot = kNoWrite;
  std::uint64_t content_key = 0;
  std::vector<BlockIndex> table;
};

inline StepLimits small_limits(std::uint32_t max_table_edits) {
  return {.shape = {.slots = 5, .max_blocks = 12, .max_chunks = 6},
          .max_table_edits = max_table_edits,
          .pool_blocks = 70,
          .block_tokens = 16,
          .max_length = 190,
          .vocabulary = 50};
}
inline constexpr std::uint32_t kChunkTokens = 32;

struct AlignedBytes {
  explicit AlignedBytes(std::size_t bytes) : words(bytes / 64 + 1), size(bytes) {}
  struct alignas(64) Line {
    std::byte bytes[64] = {};
  };
  std::byte* data() { return words.data()->bytes; }
  std::span<std::byte> span() { return {data(), size}; }
  std::vector<Line> words;
  std::size_t size;
};

// Host and device side of one descriptor. The memory starts as garbage, as the image's owner
// clears it.
class Commits {
 public:
  explicit Commits(const StepLimits& limits)
      : limits_(limits),
        image_(step_image_bytes(limits.shape)),
        first_(record_capacity(limits)),
        second_(record_capacity(limits)),
        builder(limits),
        sampled(limits.shape.slots, 0) {
    std::ranges::fill(image_.span(), std::byte{0xaa});
    clear_step_image(image_.data(), limits.shape);
    channel.records[0] = first_.data();
    channel.records[1] = second_.data();
  }

  ApplyStatus apply() {
    const ApplyStepArgs args{
        .channel = &channel, .image = image_.data(), .sampled = sampled.data(), .limits = limits_};
    WorkerContext worker;
    apply_step_kernel().host(&args, 0, worker);
    return channel.status;
  }

  std::vector<std::byte> image() { return {image_.span().begin(), image_.span().end()}; }
  std::byte* record() { return channel.records[channel.published % 2]; }

 private:
  StepLimits limits_;
  AlignedBytes image_;
  AlignedBytes first_;
  AlignedBytes second_;

 public:
  CommitChannel channel;
  DescriptorBuilder builder;
  std::vector<TokenId> sampled;  // by the device, in the step before
};

// The image that these slots mean, built from nothing.
inline std::vector<std::byte> rebuild(const StepLimits& limits, const MergePolicy& policy,
                                      const std::vector<SlotTruth>& slots) {
  const StepImageShape& shape = limits.shape;
  AlignedBytes memory(step_image_bytes(shape));
  const StepImage image = place_step_image(memory.data(), shape);
  for (std::uint32_t row = 0; row < (shape.slots + kRowTile - 1) / kRowTile * kRowTile; ++row) {
    const bool active = row < shape.slots && slots[row].active;
    image.rows.token[row] = active ? slots[row].token : kNoToken;
    image.rows.length[row] = active ? slots[row].length : 0;
    image.rows.position[row] = active ? slots[row].length - 1 : 0;
    image.rows.write_slot[row] = active ? slots[row].write_slot : kNoWrite;
    image.rows.content_key[row] = active ? slots[row].content_key : 0;
    image.rows.history[row] = row < shape.slots ? row : 0;
  }
  for (std::size_t slot = 0; slot < shape.slots; ++slot) {
    const std::vector<KvGroup> groups = plan_groups(slots[slot].table, policy);
    std::ranges::copy(groups, image.groups + slot * shape.max_blocks);
    std::ranges::copy(plan_chunk_groups(groups, limits.block_tokens, kChunkTokens),
                      image.chunk_group + slot * shape.max_chunks);
  }
  return {memory.span().begin(), memory.span().end()};
}

}  // namespace kvrm::models
