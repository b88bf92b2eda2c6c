#include "engines/descriptor/record_view.h"

#include "engines/descriptor/record_checksum.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

template <class T>
std::span<const T> take(const std::byte*& at, std::size_t count) {
  const std::span<const T> part(reinterpret_cast<const T*>(at), count);
  at += count * sizeof(T);
  return part;
}

template <class T>
std::uint64_t checksum_part(std::span<const T> part, RecordPart name) {
  return checksum_bytes(reinterpret_cast<const std::byte*>(part.data()), part.size_bytes(), name);
}

}  // namespace

StepRecordHeader record_header(const std::byte* record) {
  StepRecordHeader header;
  std::memcpy(&header, record, sizeof(header));
  return header;
}

std::size_t record_bytes(const StepRecordHeader& header) {
  return sizeof(StepRecordHeader) + header.slot_edits * sizeof(SlotEdit) + header.table_bytes +
         header.block_copies * sizeof(BlockCopy) + header.stage_copies * sizeof(StageCopy) +
         header.far_updates * sizeof(FarUpdate) + header.image_bytes;
}

RecordView record_view(const std::byte* record) {
  RecordView view;
  view.header = record_header(record);
  const std::byte* at = record + sizeof(StepRecordHeader);
  view.slot_edits = take<SlotEdit>(at, view.header.slot_edits);
  view.table_words = take<std::uint64_t>(at, view.header.table_bytes / sizeof(std::uint64_t));
  view.block_copies = take<BlockCopy>(at, view.header.block_copies);
  view.stage_copies = take<StageCopy>(at, view.header.stage_copies);
  view.far_updates = take<FarUpdate>(at, view.header.far_updates);
  if (view.header.kind == CommitKind::full) view.image = at;
  return view;
}

std::uint64_t header_checksum(StepRecordHeader header) {
  header.checksum = 0;
  return checksum_of(header, RecordPart::header, 0);
}

std::uint64_t body_checksum(const RecordView& record) {
  return checksum_part(record.slot_edits, RecordPart::slot_edits) +
         checksum_part(record.table_words, RecordPart::table_edits) +
         KVRM_MUTATE(record_body_checksum_skips_copies,
                     checksum_part(record.block_copies, RecordPart::block_copies), 0U) +
         checksum_part(record.stage_copies, RecordPart::stage_copies) +
         checksum_part(record.far_updates, RecordPart::far_updates) +
         checksum_bytes(record.image, record.image == nullptr ? 0 : record.header.image_bytes,
                        RecordPart::image);
}

}  // namespace kvrm
