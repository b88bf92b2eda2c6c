// Collects a step's edits on the host and publishes them as one record. It keeps a shadow of the
// step image, so that edits that would overflow can become a full commit; it does not know why
// anything changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engines/descriptor/apply_step.h"
#include "engines/descriptor/record_section.h"
#include "engines/descriptor/step_image.h"
#include "engines/transport/table_edits.h"
#include "harness/base/huge_array.h"
#include "harness/contract/step_descriptor.h"

namespace kvrm {

struct CommitResult {
  Epoch epoch = 0;
  CommitKind kind = CommitKind::edits;
  std::size_t bytes = 0;
};

// Everything that a record holds may be given in any order, except that edits of one table entry
// replace each other in the order given, and far updates run in it.
class DescriptorBuilder {
 public:
  explicit DescriptorBuilder(const StepLimits& limits);

  // A later edit of a slot in one commit replaces the earlier one.
  void edit_slot(const SlotEdit& edit);
  // Every active slot without an edit in this commit goes on by one position (kAdvance). CHECKs at
  // the commit that each of them may.
  void advance() { advance_ = true; }
  void edit_tables(const TableEdits& edits);
  // As GroupTable::prefetch(), for an edit of this entry of the slot's groups.
  void prefetch_group(SlotIndex slot, std::uint32_t index) const {
    __builtin_prefetch(shadow_.groups + std::size_t{slot} * limits_.shape.group_stride() + index,
                       1);
  }

  // At most room_for_block_copies(); a copy that overlaps another is refused by the device.
  void copy_blocks(const BlockCopy& copy);
  std::size_t room_for_block_copies() const { return block_copies_.room(); }
  // Any number: more than the image's list holds become stage_all in a full commit.
  void stage(std::span<const StageCopy> copies);
  // Takes back what was staged for the slot since the last commit.
  void drop_staging(SlotIndex slot);
  // In order; at most max_far_updates().
  void update_far(const FarUpdate& update);

  // Writes everything since the last commit into the channel's free record and publishes it by one
  // release store. CHECKs that the record's previous use has been applied.
  CommitResult commit(CommitChannel& channel);
  // Of the last commit, in the channel's memory until the commit after the next.
  std::span<const std::byte> record() const { return record_; }

  // What the device's image must be once the last commit has been applied, up to the next call that
  // edits. Tokens that the device took from its own samples stand as kSampledToken or kKeptToken.
  std::span<const std::byte> shadow() const { return {shadow_memory_.data(), shadow_bytes_}; }
  std::size_t bytes() const;  // host memory held

 private:
  void take_tables(const TableEdits& edits);
  bool take_groups(const TableEdit& edit, const std::uint64_t* values, WordSink& sink);
  void finish_rows();
  std::size_t write_edits(std::byte* record) const;
  std::size_t write_image(std::byte* record) const;
  void begin_next();

  StepLimits limits_;
  std::size_t shadow_bytes_ = 0;
  HugeArray<std::byte> shadow_memory_;
  StepImage shadow_;
  RecordSection<SlotEdit> slot_edits_;
  std::vector<std::uint32_t> slot_edit_;  // [slots] 1 + index in slot_edits_, 0 where it has none
  std::size_t max_table_words_ = 0;
  std::unique_ptr<std::uint64_t[]> table_words_;  // [max_table_words_]
  std::size_t table_size_ = 0;                    // words in use
  std::uint32_t table_edits_ = 0;
  std::uint64_t table_checksum_ = 0;
  RecordSection<BlockCopy> block_copies_;
  RecordSection<StageCopy> stage_copies_;
  RecordSection<FarUpdate> far_updates_;
  bool advance_ = false;
  bool tables_overflowed_ = false;
  bool stage_all_ = false;
  Epoch epoch_ = 0;
  std::span<const std::byte> record_;
};

}  // namespace kvrm
