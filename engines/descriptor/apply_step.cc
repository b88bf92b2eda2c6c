#include "engines/descriptor/apply_step.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "engines/descriptor/record_check.h"
#include "harness/base/hash.h"

namespace kvrm {
namespace {

// A record's parts; its sizes have been checked.
struct RecordView {
  StepRecordHeader header;
  const std::byte* slot_edits = nullptr;
  const std::byte* table_edits = nullptr;
  const std::byte* image = nullptr;
};

template <class T>
T load(const std::byte* from, std::size_t index) {
  T value;
  std::memcpy(&value, from + index * sizeof(T), sizeof(T));
  return value;
}

RecordView view_of(const std::byte* record) {
  RecordView view{.header = load<StepRecordHeader>(record, 0)};
  view.slot_edits = record + sizeof(StepRecordHeader);
  view.table_edits = view.slot_edits + view.header.slot_edits * sizeof(SlotEdit);
  view.image = view.slot_edits;
  return view;
}

ApplyStatus check_header(const StepRecordHeader& header, const ApplyStepArgs& args,
                         Epoch published) {
  if (header.magic != kStepRecordMagic) return ApplyStatus::bad_magic;
  if (header.epoch != published || header.epoch != args.channel->applied + 1) {
    return ApplyStatus::bad_epoch;
  }
  return sizes_fit(header, args.limits) ? ApplyStatus::ok : ApplyStatus::bad_size;
}

bool indexes_fit(const RecordView& view, const StepLimits& limits) {
  if (view.header.kind == CommitKind::full) return image_fits(view.image, limits);
  for (std::uint32_t i = 0; i < view.header.slot_edits; ++i) {
    if (!slot_edit_fits(load<SlotEdit>(view.slot_edits, i), limits)) return false;
  }
  for (std::uint32_t i = 0; i < view.header.table_edits; ++i) {
    if (!table_edit_fits(load<TableEdit>(view.table_edits, i), limits)) return false;
  }
  return true;
}

void apply(const RecordView& view, const ApplyStepArgs& args) {
  if (view.header.kind == CommitKind::full) {
    std::memcpy(args.image, view.image, view.header.image_bytes);
    return;
  }
  const StepImageShape& shape = args.limits.shape;
  const StepImage image = place_step_image(args.image, shape);
  for (std::uint32_t i = 0; i < view.header.slot_edits; ++i) {
    const auto edit = load<SlotEdit>(view.slot_edits, i);
    const bool given = (edit.flags & kTokenGiven) != 0 || args.sampled == nullptr;
    write_slot_edit(image, edit, given ? edit.token : args.sampled[edit.slot]);
  }
  for (std::uint32_t i = 0; i < view.header.table_edits; ++i) {
    write_table_edit(image, shape, load<TableEdit>(view.table_edits, i));
  }
}

ApplyStatus check_and_apply(const ApplyStepArgs& args) {
  const Epoch published =
      std::atomic_ref<Epoch>(args.channel->published).load(std::memory_order_acquire);
  const std::byte* record = args.channel->records[published % 2];
  const auto header = load<StepRecordHeader>(record, 0);
  const ApplyStatus status = check_header(header, args, published);
  if (status != ApplyStatus::ok) return status;
  if (record_checksum(record, record_bytes(header)) != header.checksum) {
    return ApplyStatus::bad_checksum;
  }
  const RecordView view = view_of(record);
  if (!indexes_fit(view, args.limits)) return ApplyStatus::bad_index;
  apply(view, args);
  args.channel->applied = published;
  return ApplyStatus::ok;
}

void apply_step(const void* args, std::uint32_t, WorkerContext&) {
  const auto& step = *static_cast<const ApplyStepArgs*>(args);
  step.channel->status = check_and_apply(step);
}

constexpr Kernel kApplyStep{"descriptor/apply_step", apply_step};

}  // namespace

const Kernel& apply_step_kernel() { return kApplyStep; }

const char* apply_status_name(ApplyStatus status) {
  switch (status) {
    case ApplyStatus::ok:
      return "ok";
    case ApplyStatus::bad_magic:
      return "bad magic";
    case ApplyStatus::bad_epoch:
      return "bad epoch";
    case ApplyStatus::bad_size:
      return "bad size";
    case ApplyStatus::bad_checksum:
      return "bad checksum";
    case ApplyStatus::bad_index:
      return "bad index";
  }
  return "unknown";
}

std::size_t record_capacity(const StepLimits& limits) {
  const std::size_t edits = limits.shape.slots * sizeof(SlotEdit) +
                            std::size_t{limits.max_table_edits} * sizeof(TableEdit);
  return sizeof(StepRecordHeader) + std::max(edits, step_image_bytes(limits.shape));
}

std::uint64_t record_checksum(const std::byte* record, std::size_t bytes) {
  auto header = load<StepRecordHeader>(record, 0);
  header.checksum = 0;
  const std::uint64_t seed = hash_bytes(std::as_bytes(std::span(&header, 1)));
  return hash_bytes({record + sizeof(header), bytes - sizeof(header)}, seed);
}

}  // namespace kvrm
