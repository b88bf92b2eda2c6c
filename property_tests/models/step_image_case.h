// A commit channel, a step image and a builder in plain memory, and a rebuild of the image from
// slots, block tables and lists alone: what the descriptor's tests compare against. Tests only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "engines/descriptor/apply_step.h"
#include "engines/descriptor/descriptor_builder.h"
#include "engines/descriptor/record_view.h"
#include "engines/transport/group_planner.h"
#include "kernels/linear/linear.h"

namespace kvrm::models {

// One slot as the engine means it.
struct SlotTruth {
  bool active = false;
  TokenId token = kNoToken;
  std::uint32_t position = 0;
  std::uint32_t length = 0;
  FarSpan far;
  std::uint64_t write_slot = kNoWrite;
  std::uint64_t content_key = 0;
  std::vector<BlockIndex> table;
  std::map<std::uint32_t, float> bias;  // by entry; 0 where there is none
};

// A step's copies and updates, in the order of the image.
struct ListsTruth {
  std::vector<BlockCopy> block_copies;
  std::vector<StageCopy> stage_copies;
  std::vector<FarUpdate> far_updates;
  bool stage_all = false;
};

inline StepLimits small_limits(std::uint64_t max_table_bytes, std::uint32_t vocabulary = 50) {
  return {.shape = {.slots = 5,
                    .max_blocks = 12,
                    .max_chunks = 6,
                    .extra_block_copies = 3,
                    .max_stage_copies = 6},
          .pool_blocks = 70,
          .block_tokens = 16,
          .tile_tokens = 32,
          .max_length = 190,
          .max_position = 400,
          .vocabulary = vocabulary,
          .max_table_bytes = max_table_bytes};
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
    const ApplyStepArgs args{.channel = &channel,
                             .image = image_.data(),
                             .sampled = limits_.vocabulary > 0 ? sampled.data() : nullptr,
                             .limits = limits_};
    WorkerContext worker;
    apply_step_kernel().host(&args, 0, worker);
    return channel.status;
  }

  std::vector<std::byte> image() { return {image_.span().begin(), image_.span().end()}; }
  StepImage placed_image() { return place_step_image(image_.data(), limits_.shape); }
  std::byte* record() { return channel.records[channel.published % 2]; }

  // Publishes this as the next record, with sums that are right whatever is in it.
  void publish(StepRecordHeader header, std::span<const std::byte> body) {
    channel.published = channel.applied + 1;
    header.epoch = channel.published;
    if (!body.empty()) std::memcpy(record() + sizeof(header), body.data(), body.size());
    std::memcpy(record(), &header, sizeof(header));
    header.body_checksum = body_checksum(record_view(record()));
    header.checksum = header_checksum(header);
    std::memcpy(record(), &header, sizeof(header));
  }

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

inline void rebuild_row(const RowArrays& rows, std::uint32_t row, const SlotTruth* slot) {
  const bool active = slot != nullptr && slot->active;
  rows.token[row] = active ? slot->token : kNoToken;
  rows.length[row] = active ? slot->length : 0;
  rows.position[row] = active ? slot->position : 0;
  rows.far[row] = active ? slot->far : FarSpan();
  rows.write_slot[row] = active ? slot->write_slot : kNoWrite;
  rows.content_key[row] = active ? slot->content_key : 0;
  rows.history[row] = slot != nullptr ? row : 0;
}

// The image that these slots and lists mean, built from nothing.
inline std::vector<std::byte> rebuild(const StepLimits& limits, const MergePolicy& policy,
                                      const std::vector<SlotTruth>& slots,
                                      const ListsTruth& lists) {
  const StepImageShape& shape = limits.shape;
  AlignedBytes memory(step_image_bytes(shape));
  const StepImage image = place_step_image(memory.data(), shape);
  for (std::uint32_t row = 0; row < (shape.slots + kRowTile - 1) / kRowTile * kRowTile; ++row) {
    rebuild_row(image.rows, row, row < shape.slots ? &slots[row] : nullptr);
  }
  for (std::size_t slot = 0; slot < shape.slots; ++slot) {
    const std::vector<KvGroup> groups = plan_groups(slots[slot].table, policy);
    std::ranges::copy(groups, image.groups + slot * shape.group_stride());
    std::ranges::copy(plan_chunk_groups(groups, limits.block_tokens, kChunkTokens),
                      image.chunk_group + slot * shape.max_chunks);
    for (const auto& [entry, bias] : slots[slot].bias) {
      image.far_bias[slot * shape.max_blocks + entry] = bias;
    }
  }
  std::ranges::copy(lists.block_copies, image.block_copies);
  std::ranges::copy(lists.stage_copies, image.stage_copies);
  std::ranges::copy(lists.far_updates, image.far_updates);
  *image.counts = {.block_copies = static_cast<std::uint32_t>(lists.block_copies.size()),
                   .stage_copies = static_cast<std::uint32_t>(lists.stage_copies.size()),
                   .far_updates = static_cast<std::uint32_t>(lists.far_updates.size()),
                   .stage_all = lists.stage_all ? 1U : 0U};
  return {memory.span().begin(), memory.span().end()};
}

}  // namespace kvrm::models
