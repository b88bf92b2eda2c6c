// The first node of `kvrm`'s graph: takes the record that was published last and applies it to the
// step image, or rejects it and changes nothing. It trusts nothing in the record: every size, index
// and byte is checked before the first write.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engines/descriptor/step_image.h"
#include "engines/descriptor/step_limits.h"
#include "harness/device/device.h"

namespace kvrm {

enum class ApplyStatus : std::uint32_t {
  ok = 0,
  bad_magic,
  bad_epoch,  // stale, or not the one after the last applied
  bad_size,   // unknown kind or flags, or counts that do not fit the record's capacity
  bad_checksum,
  bad_index,    // a slot, entry, block, length or token outside its range, or edits out of order
  bad_overlap,  // a copy writes what another one reads or writes
  bad_advance,  // a row would leave its block, or its history's bounds
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
  std::byte* records[2] = {};  // [record_capacity] each, aligned to 8 bytes
};

struct ApplyStepArgs {
  CommitChannel* channel = nullptr;
  std::byte* image = nullptr;        // [step_image_bytes(limits.shape)]
  const TokenId* sampled = nullptr;  // [slots] of the step before; null for attention_only
  StepLimits limits;
};

// One item. The status goes to the channel.
const Kernel& apply_step_kernel();

}  // namespace kvrm
