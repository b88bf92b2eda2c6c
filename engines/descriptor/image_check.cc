#include "engines/descriptor/image_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engines/descriptor/record_check.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "kernels/linear/linear.h"

namespace kvrm {
namespace {

bool far_is_off(const FarSpan& far) {
  return far.first == 0 && far.entries == 0 && far.window == 0;
}

bool far_fits(const FarSpan& far, std::uint32_t length, const StepLimits& limits) {
  const std::uint32_t alignment = std::max(limits.block_tokens, limits.tile_tokens);
  return far.first % limits.block_tokens == 0 && far.entries <= limits.shape.max_blocks &&
         std::uint64_t{far.first} + far.entries <= far.window && far.window % alignment == 0 &&
         far.window <= length;
}

bool row_fits(const RowArrays& rows, std::uint32_t row, const StepLimits& limits) {
  const bool slot = row < limits.shape.slots;
  if (rows.history[row] != (slot ? row : 0)) return false;
  const RowFields fields{{rows.position[row], rows.length[row], rows.write_slot[row]},
                         rows.content_key[row],
                         rows.far[row]};
  const TokenId token = rows.token[row];
  if (fields.place.length == 0 || !slot) return token == kNoToken && row_is_empty(fields);
  const bool on_device = token == kSampledToken || token == kKeptToken;
  return (on_device ? limits.vocabulary > 0 : token_fits(token, limits)) &&
         active_row_fits(fields, limits);
}

bool group_fits(const KvGroup& group, const StepLimits& limits) {
  if (group.blocks == 0) return group.logical == 0 && group.physical == 0 && group.reserved == 0;
  return std::uint64_t{group.logical} + group.blocks <= limits.shape.max_blocks &&
         std::uint64_t{group.physical} + group.blocks <= limits.pool_blocks && group.reserved == 0;
}

// Each row's entries, and nothing behind them.
bool groups_fit(const KvGroup* groups, const StepLimits& limits) {
  const std::uint32_t stride = limits.shape.group_stride();
  for (std::size_t i = 0; i < std::size_t{limits.shape.slots} * stride; ++i) {
    if (!group_fits(groups[i], limits)) return false;
    if (i % stride >= limits.shape.max_blocks && groups[i].blocks != 0) return false;
  }
  return true;
}

template <class T>
bool is_zero(const T& entry) {
  static constexpr std::byte kZeros[sizeof(T)] = {};
  return std::memcmp(&entry, kZeros, sizeof(T)) == 0;
}

template <class T, class Fits>
bool list_fits(std::span<const T> list, std::uint32_t used, const Fits& fits) {
  if (used > list.size()) return false;
  const auto first_unused = list.begin() + used;
  return std::all_of(list.begin(), first_unused, fits) &&
         std::all_of(first_unused, list.end(), is_zero<T>);
}

bool lists_fit(const StepImage& image, const StepLimits& limits) {
  const StepImageShape& shape = limits.shape;
  const StepCounts& counts = *image.counts;
  const std::span<const BlockCopy> block_copies(image.block_copies, shape.max_block_copies());
  const std::span<const StageCopy> stage_copies(image.stage_copies, shape.max_stage_copies);
  const std::span<const FarUpdate> updates(image.far_updates, shape.max_far_updates());
  return counts.stage_all <= 1 && (counts.stage_all == 0 || counts.stage_copies == 0) &&
         list_fits(block_copies, counts.block_copies,
                   [&](const BlockCopy& copy) { return block_copy_fits(copy, limits); }) &&
         list_fits(stage_copies, counts.stage_copies,
                   [&](const StageCopy& copy) { return stage_copy_fits(copy, limits); }) &&
         list_fits(updates, counts.far_updates,
                   [&](const FarUpdate& update) { return far_update_fits(update, limits); });
}

// What lies between the parts of an image.
bool padding_is_zero(const std::byte* image, const StepImageShape& shape) {
  const StepImage view = place_step_image(const_cast<std::byte*>(image), shape);
  const auto zero_between = [](const void* end, const void* next) {
    return std::all_of(static_cast<const std::byte*>(end), static_cast<const std::byte*>(next),
                       [](std::byte value) { return value == std::byte{0}; });
  };
  const std::size_t entries = std::size_t{shape.slots} * shape.max_blocks;
  return zero_between(image + row_arrays_bytes(shape.slots), view.counts) &&
         zero_between(view.counts + 1, view.groups) &&
         zero_between(view.groups + std::size_t{shape.slots} * shape.group_stride(),
                      view.chunk_group) &&
         zero_between(view.chunk_group + std::size_t{shape.slots} * shape.max_chunks,
                      view.far_bias) &&
         zero_between(view.far_bias + entries, view.block_copies) &&
         zero_between(view.block_copies + shape.max_block_copies(), view.stage_copies) &&
         zero_between(view.stage_copies + shape.max_stage_copies, view.far_updates) &&
         zero_between(view.far_updates + shape.max_far_updates(), image + step_image_bytes(shape));
}

}  // namespace

bool token_fits(TokenId token, const StepLimits& limits) {
  return token == kNoToken || token < limits.vocabulary;
}

bool bias_fits(float bias) {
  return std::isfinite(bias) && KVRM_MUTATE(record_negative_bias, !std::signbit(bias), true);
}

bool active_row_fits(const RowFields& row, const StepLimits& limits) {
  const RowPlace& place = row.place;
  if (place.length == 0 || place.length > limits.max_length ||
      place.position >= limits.max_position ||
      place.write_slot >= std::uint64_t{limits.pool_blocks} * limits.block_tokens) {
    return false;
  }
  return far_is_off(row.far) ? place.position == place.length - 1
                             : far_fits(row.far, place.length, limits);
}

bool row_is_empty(const RowFields& row) {
  return row.place.position == 0 && row.place.length == 0 && row.place.write_slot == kNoWrite &&
         row.content_key == 0 && far_is_off(row.far);
}

bool image_fits(const std::byte* image, const StepLimits& limits) {
  const StepImageShape& shape = limits.shape;
  // The view is only read; placing it takes a mutable pointer because the device's own is written.
  const StepImage view = place_step_image(const_cast<std::byte*>(image), shape);
  for (std::uint32_t row = 0; row < round_up(shape.slots, kRowTile); ++row) {
    if (!row_fits(view.rows, row, limits)) return false;
  }
  const std::size_t entries = std::size_t{shape.slots} * shape.max_blocks;
  const std::size_t chunks = std::size_t{shape.slots} * shape.max_chunks;
  return groups_fit(view.groups, limits) &&
         std::all_of(view.chunk_group, view.chunk_group + chunks,
                     [&](std::uint32_t group) { return group < shape.max_blocks; }) &&
         std::all_of(view.far_bias, view.far_bias + entries, bias_fits) &&
         lists_fit(view, limits) && padding_is_zero(image, shape);
}

}  // namespace kvrm
