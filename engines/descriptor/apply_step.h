// The first node of `kvrm`'s graph: takes the record that was published last and applies it to the
// step image, or rejects it and changes nothing. It trusts nothing in the record: every size, index
// and byte is checked before the first write.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engines/descriptor/step_image.h"
#include "harness/device/device.h"

namespace kvrm {

enum class ApplyStatus : std::uint32_t {
  ok = 0,
  bad_magic,
  bad_epoch,  // stale, or not the one after the last applied
  bad_size,   // counts that do not fit the record's capacity, unknown kind, or copies
  bad_checksum,
  bad_index,  // a slot, entry, block, length or token outside its range
};
const char* apply_status_name(ApplyStatus status);

// What host and device share, at a fixed address in device memory. Publishing a step is one release
// store of `published`; the record of epoch e lies in records[e % 2], so that the host may build
// the next one while the device still reads the last.
struct CommitChannel {
  Epoch published = 0;  // written by the host
  Epoch applied = 0;    // written by the device: epoch of the last record that it accepted
  ApplyStatus status = ApplyStatus::ok;  // of the last replay, written by the device
  std::uint32_t reserved = 0;
  std::byte* records[2] = {};  // [record_capacity] each
};

// What a record may refer to.
struct StepLimits {
  StepImageShape shape;
  std::uint32_t max_table_edits = 0;
  std::uint32_t pool_blocks = 0;
  std::uint32_t block_tokens = 0;
  std::uint32_t max_length = 0;  // positions of a history
  std::uint32_t vocabulary = 0;  // 0: attention_only, where the only token is kNoToken
  std::uint32_t reserved = 0;
};

// Bytes that the largest record of either kind takes.
std::size_t record_capacity(const StepLimits& limits);

// Checksum of a record of `bytes` bytes: over every byte with the checksum field taken as zero.
std::uint64_t record_checksum(const std::byte* record, std::size_t bytes);

struct ApplyStepArgs {
  CommitChannel* channel = nullptr;
  std::byte* image = nullptr;        // [step_image_bytes(limits.shape)]
  const TokenId* sampled = nullptr;  // [slots] of the step before; null for attention_only
  StepLimits limits;
};

// One item. The status goes to the channel.
const Kernel& apply_step_kernel();

}  // namespace kvrm
