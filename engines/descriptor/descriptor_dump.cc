#include "engines/descriptor/descriptor_dump.h"

#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "engines/descriptor/record_check.h"
#include "engines/descriptor/record_view.h"

namespace kvrm {
namespace {

std::string token_text(TokenId token) {
  if (token == kNoToken) return "none";
  if (token == kSampledToken) return "sampled";
  if (token == kKeptToken) return "kept";
  return fmt::format("{}", token);
}

std::string slot_line(const SlotEdit& edit, TokenId token) {
  if ((edit.flags & kSlotActive) == 0) return fmt::format("slot {}: inactive\n", edit.slot);
  std::string line =
      fmt::format("slot {}: token {}, position {}, length {}, write {}, key {:#x}", edit.slot,
                  token_text(token), edit.position, edit.length, edit.write_slot, edit.content_key);
  if (edit.far.window > 0) {
    line += fmt::format(", far entries {} from {}, window from {}", edit.far.entries,
                        edit.far.first, edit.far.window);
  }
  return line + "\n";
}

std::string entries_text(const TableEdit& edit) {
  return edit.count == 1 ? fmt::format("[{}]", edit.index)
                         : fmt::format("[{}..{}]", edit.index, edit.index + edit.count - 1);
}

std::string table_line(const TableEdit& edit, const std::uint64_t* values) {
  static constexpr const char* kNames[] = {"group", "chunk_group", "far_bias"};
  std::string line = fmt::format("{} of slot {}{}:", kNames[static_cast<int>(edit.table)],
                                 edit.slot, entries_text(edit));
  std::uint64_t logical = edit.logical;
  for (std::uint32_t i = 0; i < edit.count; ++i) {
    if (edit.table == StepTable::group) {
      if (i > 0) line += ";";
      const std::uint64_t blocks = values[i] >> 32;
      line += blocks == 0
                  ? " cleared"
                  : fmt::format(" {} <- {}, {} blocks", logical, values[i] & 0xffffffffU, blocks);
      logical += blocks;
      continue;
    }
    const auto value = static_cast<std::uint32_t>(values[i / 2] >> (i % 2 * 32));
    line += edit.table == StepTable::far_bias ? fmt::format(" {}", std::bit_cast<float>(value))
                                              : fmt::format(" {}", value);
  }
  return line + "\n";
}

std::string far_line(const FarUpdate& update) {
  if (update.kind == FarUpdateKind::summarise) {
    return fmt::format("far entry {} at {}: summary of {} positions from {}, radii in block {}\n",
                       update.entry, update.entry_slot, update.count, update.source_slot,
                       update.radii_block);
  }
  return fmt::format(
      "far entry {} at {}: its {} positions and the {} of entry {} at {}, radii in block {}\n",
      update.entry, update.entry_slot, update.count, update.source_count, update.source_entry,
      update.source_slot, update.radii_block);
}

std::string lists_text(const StepLists& lists) {
  std::string text = lists.stage_all ? "stage every group of every active slot\n" : "";
  for (const BlockCopy& copy : lists.block_copies) {
    text +=
        fmt::format("copy block {} <- {}, {} blocks\n", copy.destination, copy.source, copy.blocks);
  }
  for (const StageCopy& copy : lists.stage_copies) {
    text += fmt::format("stage slot {} from block {} <- {}, {} blocks\n", copy.slot, copy.logical,
                        copy.physical, copy.blocks);
  }
  for (const FarUpdate& update : lists.far_updates) text += far_line(update);
  return text;
}

std::string edits_text(const RecordView& record) {
  std::string text;
  for (const SlotEdit& edit : record.slot_edits) {
    text += slot_line(edit, (edit.flags & kTokenGiven) != 0 ? edit.token : kSampledToken);
  }
  for_each_table_edit(record.table_words, [&](const TableEdit& edit, const std::uint64_t* values) {
    text += table_line(edit, values);
    return true;
  });
  return text + lists_text({record.block_copies, record.stage_copies, record.far_updates, false});
}

std::string image_text(const RecordView& record, const StepImageShape& shape) {
  const StepImage image = place_step_image(const_cast<std::byte*>(record.image), shape);
  std::string text;
  for (std::uint32_t row = 0; row < shape.slots; ++row) {
    if (image.rows.length[row] == 0) continue;
    text += slot_line({.slot = row,
                       .flags = kSlotActive,
                       .position = image.rows.position[row],
                       .length = image.rows.length[row],
                       .far = image.rows.far[row],
                       .write_slot = image.rows.write_slot[row],
                       .content_key = image.rows.content_key[row]},
                      image.rows.token[row]);
  }
  const StepCounts& counts = *image.counts;
  return text + lists_text({{image.block_copies, counts.block_copies},
                            {image.stage_copies, counts.stage_copies},
                            {image.far_updates, counts.far_updates},
                            counts.stage_all != 0});
}

}  // namespace

std::string dump_record(std::span<const std::byte> record, const StepLimits& limits) {
  if (!limits_fit(limits)) return "a step record under limits that no engine has\n";
  if (record.size() < sizeof(StepRecordHeader)) return "not a step record: shorter than a header\n";
  std::vector<std::uint64_t> words((record.size() + 7) / 8);  // aligned as a view wants it
  std::memcpy(words.data(), record.data(), record.size());
  const auto* memory = reinterpret_cast<const std::byte*>(words.data());
  const StepRecordHeader header = record_header(memory);
  if (header.magic != kStepRecordMagic) return "not a step record: no magic number\n";
  if (header_checksum(header) != header.checksum) return "a damaged step record: its header\n";
  if (!sizes_fit(header, limits) || record_bytes(header) != record.size()) {
    return "not a step record of these limits: its sizes do not fit\n";
  }
  const RecordView view = record_view(memory);
  if (body_checksum(view) != header.body_checksum) return "a damaged step record: its body\n";
  if (!indexes_fit(view, limits)) return "a step record with indexes outside these limits\n";
  const bool full = header.kind == CommitKind::full;
  return fmt::format("epoch {}: {}, {} bytes{}\n", header.epoch, full ? "full commit" : "edits",
                     record.size(), (header.flags & kAdvance) != 0 ? ", others advance" : "") +
         (full ? image_text(view, limits.shape) : edits_text(view));
}

}  // namespace kvrm
