#include "engines/descriptor/descriptor_builder.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "engines/descriptor/record_check.h"
#include "harness/base/check.h"

namespace kvrm {
namespace {

constexpr std::align_val_t kImageAlignment{64};

template <class T>
std::byte* store(std::byte* to, const std::vector<T>& values) {
  if (!values.empty()) std::memcpy(to, values.data(), values.size() * sizeof(T));
  return to + values.size() * sizeof(T);
}

}  // namespace

void DescriptorBuilder::FreeAligned::operator()(std::byte* memory) const {
  ::operator delete[](memory, kImageAlignment);
}

DescriptorBuilder::DescriptorBuilder(const StepLimits& limits)
    : limits_(limits),
      shadow_bytes_(step_image_bytes(limits.shape)),
      shadow_memory_(new (kImageAlignment) std::byte[shadow_bytes_]),
      shadow_(place_step_image(shadow_memory_.get(), limits.shape)) {
  clear_step_image(shadow_memory_.get(), limits.shape);
  slot_edits_.reserve(limits.shape.slots);
  table_edits_.reserve(limits.max_table_edits);
}

void DescriptorBuilder::edit_slot(const SlotEdit& edit, TokenId token) {
  KVRM_CHECK_LT(slot_edits_.size(), limits_.shape.slots);
  KVRM_CHECK(slot_edit_fits(edit, limits_));
  write_slot_edit(shadow_, edit, token);
  slot_edits_.push_back(edit);
}

void DescriptorBuilder::edit_table(std::span<const TableEdit> edits) {
  for (const TableEdit& edit : edits) {
    KVRM_CHECK(table_edit_fits(edit, limits_));
    write_table_edit(shadow_, limits_.shape, edit);
  }
  overflowed_ = overflowed_ || table_edits_.size() + edits.size() > limits_.max_table_edits;
  if (!overflowed_) table_edits_.insert(table_edits_.end(), edits.begin(), edits.end());
}

CommitResult DescriptorBuilder::commit(CommitChannel& channel) {
  ++epoch_;
  KVRM_CHECK_LE(epoch_, channel.applied + 2);
  StepRecordHeader header{.kind = overflowed_ ? CommitKind::full : CommitKind::edits,
                          .epoch = epoch_};
  std::byte* record = channel.records[epoch_ % 2];
  std::byte* body = record + sizeof(header);
  if (overflowed_) {
    header.image_bytes = static_cast<std::uint32_t>(shadow_bytes_);
    std::memcpy(body, shadow_memory_.get(), shadow_bytes_);
  } else {
    header.slot_edits = static_cast<std::uint32_t>(slot_edits_.size());
    header.table_edits = static_cast<std::uint32_t>(table_edits_.size());
    store(store(body, slot_edits_), table_edits_);
  }
  const std::size_t bytes = record_bytes(header);
  std::memcpy(record, &header, sizeof(header));
  header.checksum = record_checksum(record, bytes);
  std::memcpy(record, &header, sizeof(header));
  std::atomic_ref<Epoch>(channel.published).store(epoch_, std::memory_order_release);
  slot_edits_.clear();
  table_edits_.clear();
  overflowed_ = false;
  return {epoch_, header.kind, bytes};
}

std::size_t DescriptorBuilder::bytes() const {
  return shadow_bytes_ + slot_edits_.capacity() * sizeof(SlotEdit) +
         table_edits_.capacity() * sizeof(TableEdit);
}

std::uint32_t default_max_table_edits(const StepImageShape& shape) {
  const std::size_t slot_edits = shape.slots * sizeof(SlotEdit);
  const std::size_t image = step_image_bytes(shape);
  return static_cast<std::uint32_t>(image > slot_edits ? (image - slot_edits) / sizeof(TableEdit)
                                                       : 0);
}

}  // namespace kvrm
