// The parts of a step record where they lie, in memory aligned to 8 bytes. Reading only; whether
// what they hold is acceptable is record_check.h's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "engines/descriptor/step_image.h"
#include "harness/contract/step_descriptor.h"

namespace kvrm {

struct RecordView {
  StepRecordHeader header;
  std::span<const SlotEdit> slot_edits;
  std::span<const std::uint64_t> table_words;  // each edit, then its values
  std::span<const BlockCopy> block_copies;
  std::span<const StageCopy> stage_copies;
  std::span<const FarUpdate> far_updates;
  const std::byte* image = nullptr;  // full commits only
};

StepRecordHeader record_header(const std::byte* record);
// Bytes of the whole record that such a header opens. Only for a header whose sizes fit.
std::size_t record_bytes(const StepRecordHeader& header);
// Only for a record whose header's sizes fit.
RecordView record_view(const std::byte* record);

// Checksums as the header should have them.
std::uint64_t header_checksum(StepRecordHeader header);
std::uint64_t body_checksum(const RecordView& record);

// Calls visit(edit, values) for every table edit in order, until it returns false or the words end.
// True: every call returned true and the last edit's values end where the words do.
template <class Visit>
bool for_each_table_edit(std::span<const std::uint64_t> words, const Visit& visit) {
  while (!words.empty()) {
    constexpr std::size_t kEditWords = sizeof(TableEdit) / sizeof(std::uint64_t);
    if (words.size() < kEditWords) return false;
    TableEdit edit;
    std::memcpy(static_cast<void*>(&edit), words.data(), sizeof(edit));
    const std::size_t total = kEditWords + value_words(edit);
    if (words.size() < total) return false;
    if (!visit(edit, words.data() + kEditWords)) return false;
    words = words.subspan(total);
  }
  return true;
}

}  // namespace kvrm
