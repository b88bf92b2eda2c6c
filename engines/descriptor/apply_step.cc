#include "engines/descriptor/apply_step.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "engines/descriptor/image_check.h"
#include "engines/descriptor/record_check.h"
#include "engines/descriptor/record_view.h"
#include "harness/base/mutation.h"
#include "harness/base/units.h"
#include "kernels/linear/linear.h"

namespace kvrm {
namespace {

ApplyStatus check_header(const StepRecordHeader& header, const ApplyStepArgs& args,
                         Epoch published) {
  if (header.magic != kStepRecordMagic) return ApplyStatus::bad_magic;
  if (KVRM_MUTATE(record_header_damage_unseen, header_checksum(header) != header.checksum, false))
    return ApplyStatus::bad_checksum;
  if (header.epoch != published ||
      KVRM_MUTATE(record_stale_epoch_applied, header.epoch != args.channel->applied + 1, false)) {
    return ApplyStatus::bad_epoch;
  }
  return sizes_fit(header, args.limits) ? ApplyStatus::ok : ApplyStatus::bad_size;
}

// Calls visit(row) for every active row that has no edit in the record, until it returns false.
template <class Visit>
bool for_each_advancing(const RecordView& record, const ApplyStepArgs& args, const Visit& visit) {
  if ((record.header.flags & kAdvance) == 0) return true;
  const RowArrays rows = place_row_arrays(args.image, args.limits.shape.slots);
  auto edit = record.slot_edits.begin();
  for (std::uint32_t row = 0; row < args.limits.shape.slots; ++row) {
    if (edit != record.slot_edits.end() && edit->slot == row) {
      ++edit;
    } else if (rows.length[row] != 0 && !visit(rows, row)) {
      return false;
    }
  }
  return true;
}

bool rows_may_advance(const RecordView& record, const ApplyStepArgs& args) {
  return for_each_advancing(record, args, [&](const RowArrays& rows, std::uint32_t row) {
    return may_advance({rows.position[row], rows.length[row], rows.write_slot[row]}, args.limits);
  });
}

ApplyStatus check_body(const RecordView& record, const ApplyStepArgs& args) {
  if (KVRM_MUTATE(record_body_damage_unseen, body_checksum(record) != record.header.body_checksum,
                  false))
    return ApplyStatus::bad_checksum;
  if (!indexes_fit(record, args.limits)) return ApplyStatus::bad_index;
  if (!copies_disjoint(record, args.limits)) return ApplyStatus::bad_overlap;
  return rows_may_advance(record, args) ? ApplyStatus::ok : ApplyStatus::bad_advance;
}

// Everything of the carried image but the tokens that only the device knows.
void apply_image(const RecordView& record, const ApplyStepArgs& args) {
  const StepImageShape& shape = args.limits.shape;
  TokenId* tokens = place_row_arrays(args.image, shape.slots).token;
  const auto offset = static_cast<std::size_t>(reinterpret_cast<std::byte*>(tokens) - args.image);
  const std::size_t bytes = round_up(shape.slots, kRowTile) * sizeof(TokenId);
  std::memcpy(args.image, record.image, offset);
  const std::byte* carried = record.image + offset;
  for (std::uint32_t row = 0; row < bytes / sizeof(TokenId); ++row) {
    TokenId token = 0;
    std::memcpy(&token, carried + row * sizeof(TokenId), sizeof(TokenId));
    if (token == KVRM_MUTATE(image_kept_token_overwritten, kKeptToken, kSampledToken)) continue;
    tokens[row] = token != kSampledToken    ? token
                  : args.sampled == nullptr ? kNoToken
                                            : args.sampled[row];
  }
  std::memcpy(args.image + offset + bytes, carried + bytes,
              record.header.image_bytes - offset - bytes);
}

void apply_edits(const RecordView& record, const ApplyStepArgs& args) {
  const StepImageShape& shape = args.limits.shape;
  const StepImage image = place_step_image(args.image, shape);
  for_each_advancing(record, args, [&](const RowArrays& rows, std::uint32_t row) {
    ++rows.position[row];
    ++rows.length[row];
    ++rows.write_slot[row];
    if (args.sampled != nullptr) rows.token[row] = args.sampled[row];
    return true;
  });
  for (const SlotEdit& edit : record.slot_edits) {
    const bool given = (edit.flags & kTokenGiven) != 0 || args.sampled == nullptr;
    write_slot_edit(image, edit, given ? edit.token : args.sampled[edit.slot]);
  }
  for_each_table_edit(record.table_words, [&](const TableEdit& edit, const std::uint64_t* values) {
    write_table_edit(image, shape, edit, values);
    return true;
  });
  write_lists(image, {record.block_copies, record.stage_copies, record.far_updates, false});
}

ApplyStatus check_and_apply(const ApplyStepArgs& args) {
  CommitChannel& channel = *args.channel;
  const Epoch published = std::atomic_ref<Epoch>(channel.published).load(std::memory_order_acquire);
  const std::byte* memory = channel.records[published % 2];
  const ApplyStatus header = check_header(record_header(memory), args, published);
  if (header != ApplyStatus::ok) return header;
  const RecordView record = record_view(memory);
  const ApplyStatus body = check_body(record, args);
  if (body != ApplyStatus::ok) return body;
  if (record.header.kind == CommitKind::full) {
    apply_image(record, args);
  } else {
    apply_edits(record, args);
  }
  std::atomic_ref<Epoch>(channel.applied).store(published, std::memory_order_release);
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
    case ApplyStatus::bad_overlap:
      return "bad overlap";
    case ApplyStatus::bad_advance:
      return "bad advance";
  }
  return "unknown";
}

std::size_t record_capacity(const StepLimits& limits) {
  const StepImageShape& shape = limits.shape;
  const std::size_t edits = shape.slots * sizeof(SlotEdit) + limits.max_table_bytes +
                            shape.max_block_copies() * sizeof(BlockCopy) +
                            shape.max_stage_copies * sizeof(StageCopy) +
                            shape.max_far_updates() * sizeof(FarUpdate);
  return sizeof(StepRecordHeader) + std::max(edits, step_image_bytes(shape));
}

std::uint64_t default_max_table_bytes(const StepImageShape& shape) {
  return step_image_bytes(shape) / 2;
}

}  // namespace kvrm
