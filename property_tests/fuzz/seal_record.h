// Gives a changed step record the checksums that its bytes ask for, so that a fuzzer gets past
// them.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "engines/descriptor/record_view.h"

namespace kvrm {

// Leaves alone what does not have the sizes of a record.
inline void seal_record(std::vector<std::byte>& bytes) {
  if (bytes.size() < sizeof(StepRecordHeader)) return;
  std::vector<std::uint64_t> words((bytes.size() + 7) / 8);  // aligned as a view wants it
  auto* memory = reinterpret_cast<std::byte*>(words.data());
  std::memcpy(memory, bytes.data(), bytes.size());
  StepRecordHeader header = record_header(memory);
  const bool bounded = std::max(header.table_bytes, header.image_bytes) <= bytes.size();
  if (!bounded || record_bytes(header) != bytes.size()) return;
  header.body_checksum = body_checksum(record_view(memory));
  header.checksum = header_checksum(header);
  std::memcpy(bytes.data(), &header, sizeof(header));
}

}  // namespace kvrm
