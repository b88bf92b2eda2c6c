#include "engines/descriptor/descriptor_builder.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <tuple>

#include "engines/descriptor/advance_rows.h"
#include "engines/descriptor/image_check.h"
#include "engines/descriptor/record_check.h"
#include "harness/base/check.h"
#include "harness/base/mutation.h"

namespace kvrm {

DescriptorBuilder::DescriptorBuilder(const StepLimits& limits)
    : limits_(limits),
      shadow_bytes_(step_image_bytes(limits.shape)),
      shadow_memory_(shadow_bytes_),
      shadow_(place_step_image(shadow_memory_.data(), limits.shape)),
      slot_edits_(RecordPart::slot_edits, limits.shape.slots),
      slot_edit_(limits.shape.slots),
      max_table_words_(limits.max_table_bytes / sizeof(std::uint64_t)),
      table_words_(std::make_unique_for_overwrite<std::uint64_t[]>(max_table_words_)),
      block_copies_(RecordPart::block_copies, limits.shape.max_block_copies()),
      stage_copies_(RecordPart::stage_copies, limits.shape.max_stage_copies),
      far_updates_(RecordPart::far_updates, limits.shape.max_far_updates()) {
  clear_step_image(shadow_memory_.data(), limits.shape);
}

void DescriptorBuilder::edit_slot(const SlotEdit& edit) {
  KVRM_CHECK(slot_edit_fits(edit, limits_));
  std::uint32_t& place = slot_edit_[edit.slot];
  if (KVRM_MUTATE(builder_slot_edit_added_twice, place != 0, false)) {
    slot_edits_.replace(place - 1, edit);
    return;
  }
  slot_edits_.add(edit);
  place = static_cast<std::uint32_t>(slot_edits_.edits().size());
}

void DescriptorBuilder::edit_tables(const TableEdits& edits) {
  const std::span<const std::uint64_t> words = edits.words();
  tables_overflowed_ =
      tables_overflowed_ || words.size() > max_table_words_ - table_size_ +
                                               KVRM_MUTATE(builder_overflow_one_late, 0U, 1U);
  if (!tables_overflowed_) return take_tables(edits);
  const bool fit =
      for_each_table_edit(words, [&](const TableEdit& edit, const std::uint64_t* values) {
        if (!table_edit_fits(edit, values, limits_)) return false;
        write_table_edit(shadow_, limits_.shape, edit, values);
        return true;
      });
  KVRM_CHECK(fit);
}

// Checks each edit, writes it into the shadow, and copies its words into the record to be.
void DescriptorBuilder::take_tables(const TableEdits& edits) {
  WordSink sink(table_words_.get() + table_size_, RecordPart::table_edits, table_size_);
  const bool fit =
      for_each_table_edit(edits.words(), [&](const TableEdit& edit, const std::uint64_t* values) {
        sink.put(edit);
        if (edit.table == StepTable::group) return take_groups(edit, values, sink);
        for (std::size_t i = 0; i < value_words(edit); ++i) sink.put(values[i]);
        if (!table_edit_fits(edit, values, limits_)) return false;
        write_table_edit(shadow_, limits_.shape, edit, values);
        return true;
      });
  KVRM_CHECK(fit);
  table_size_ += edits.words().size();
  table_edits_ += edits.count();
  table_checksum_ += sink.checksum();
}

// All three in one pass over the values: replacing a history has thousands of them.
bool DescriptorBuilder::take_groups(const TableEdit& edit, const std::uint64_t* values,
                                    WordSink& sink) {
  const StepImageShape& shape = limits_.shape;
  if (edit.slot >= shape.slots || std::uint64_t{edit.index} + edit.count > shape.max_blocks) {
    return false;
  }
  KvGroup* to = shadow_.groups + std::size_t{edit.slot} * shape.group_stride() + edit.index;
  GroupsCheck check(edit, limits_);
  WordSink local = sink;
  check.all(values, edit.count, [&](std::uint32_t i, const KvGroup& group) {
    // In two stores: the compiler would make four of them.
    const std::uint64_t words[] = {pack_group(group.logical, group.physical), group.blocks};
    static_assert(sizeof(words) == sizeof(KvGroup));
    std::memcpy(static_cast<void*>(to + i), words, sizeof(words));
    local.put(values[i]);
  });
  sink = local;
  return check.fits();
}

void DescriptorBuilder::copy_blocks(const BlockCopy& copy) {
  KVRM_CHECK(block_copy_fits(copy, limits_));
  block_copies_.add(copy);
}

void DescriptorBuilder::stage(std::span<const StageCopy> copies) {
  stage_all_ = stage_all_ || copies.size() > stage_copies_.room();
  for (const StageCopy& copy : copies) {
    KVRM_CHECK(stage_copy_fits(copy, limits_));
    if (!stage_all_) stage_copies_.add(copy);
  }
  if (stage_all_) stage_copies_.clear();
}

void DescriptorBuilder::drop_staging(SlotIndex slot) {
  stage_copies_.remove_if([slot](const StageCopy& copy) {
    return copy.slot <= KVRM_MUTATE(builder_drops_other_slots_staging, slot, slot + 1) &&
           copy.slot >= slot;
  });
}

void DescriptorBuilder::update_far(const FarUpdate& update) {
  KVRM_CHECK(far_update_fits(update, limits_));
  far_updates_.add(update);
}

CommitResult DescriptorBuilder::commit(CommitChannel& channel) {
  ++epoch_;
  const Epoch applied = std::atomic_ref<Epoch>(channel.applied).load(std::memory_order_acquire);
  KVRM_CHECK_LE(epoch_, applied + 2);
  slot_edits_.sort([](const SlotEdit& a, const SlotEdit& b) { return a.slot < b.slot; });
  block_copies_.sort(
      [](const BlockCopy& a, const BlockCopy& b) { return a.destination < b.destination; });
  stage_copies_.sort([](const StageCopy& a, const StageCopy& b) {
    return std::tie(a.slot, a.logical) < std::tie(b.slot, b.logical);
  });
  finish_rows();
  write_lists(shadow_,
              {block_copies_.edits(), stage_copies_.edits(), far_updates_.edits(), stage_all_});
  std::byte* record = channel.records[epoch_ % 2];
  const bool full =
      tables_overflowed_ || KVRM_MUTATE(builder_full_staging_as_edits, stage_all_, false);
  record_ = {record, full ? write_image(record) : write_edits(record)};
  std::atomic_ref<Epoch>(channel.published).store(epoch_, std::memory_order_release);
  begin_next();
  return {epoch_, full ? CommitKind::full : CommitKind::edits, record_.size()};
}

// Brings the shadow's rows up to date: first those that have no edit, then those that have one.
void DescriptorBuilder::finish_rows() {
  for (const SlotEdit& edit : slot_edits_.edits()) shadow_.rows.length[edit.slot] = 0;
  if (advance_) {
    KVRM_CHECK(advance_rows(shadow_.rows, limits_));
  } else {
    keep_rows(shadow_.rows, limits_);
  }
  const TokenId sampled = limits_.vocabulary > 0 ? kSampledToken : kNoToken;
  for (const SlotEdit& edit : slot_edits_.edits()) {
    write_slot_edit(shadow_, edit, (edit.flags & kTokenGiven) != 0 ? edit.token : sampled);
  }
}

std::size_t DescriptorBuilder::write_edits(std::byte* record) const {
  StepRecordHeader header{.kind = CommitKind::edits, .epoch = epoch_};
  header.flags = advance_ ? std::uint32_t{kAdvance} : 0;
  header.slot_edits = static_cast<std::uint32_t>(slot_edits_.edits().size());
  header.table_edits = table_edits_;
  header.block_copies = static_cast<std::uint32_t>(block_copies_.edits().size());
  header.stage_copies = static_cast<std::uint32_t>(stage_copies_.edits().size());
  header.far_updates = static_cast<std::uint32_t>(far_updates_.edits().size());
  header.table_bytes = table_size_ * sizeof(std::uint64_t);
  header.body_checksum = slot_edits_.checksum() + table_checksum_ + block_copies_.checksum() +
                         stage_copies_.checksum() + far_updates_.checksum();
  header.checksum = header_checksum(header);
  std::memcpy(record, &header, sizeof(header));
  std::byte* at = slot_edits_.store(record + sizeof(header));
  if (header.table_bytes > 0) std::memcpy(at, table_words_.get(), header.table_bytes);
  at = block_copies_.store(at + header.table_bytes);
  at = far_updates_.store(stage_copies_.store(at));
  return static_cast<std::size_t>(at - record);
}

std::size_t DescriptorBuilder::write_image(std::byte* record) const {
  StepRecordHeader header{.kind = CommitKind::full, .epoch = epoch_};
  header.image_bytes = shadow_bytes_;
  header.body_checksum = copy_with_checksum(record + sizeof(header), shadow_memory_.data(),
                                            shadow_bytes_, RecordPart::image);
  header.checksum = header_checksum(header);
  std::memcpy(record, &header, sizeof(header));
  return sizeof(header) + shadow_bytes_;
}

void DescriptorBuilder::begin_next() {
  for (const SlotEdit& edit : slot_edits_.edits()) slot_edit_[edit.slot] = 0;
  slot_edits_.clear();
  table_size_ = 0;
  table_edits_ = 0;
  table_checksum_ = 0;
  block_copies_.clear();
  stage_copies_.clear();
  far_updates_.clear();
  advance_ = false;
  tables_overflowed_ = false;
  stage_all_ = KVRM_MUTATE(image_stage_all_sticks, false, stage_all_);
}

std::size_t DescriptorBuilder::bytes() const {
  return shadow_bytes_ + slot_edits_.bytes() + slot_edit_.capacity() * sizeof(std::uint32_t) +
         max_table_words_ * sizeof(std::uint64_t) + block_copies_.bytes() + stage_copies_.bytes() +
         far_updates_.bytes();
}

}  // namespace kvrm
