// Collects a step's edits on the host and publishes them as one record. It keeps a shadow of the
// step image, so that an edit list that would overflow can become a full commit; it does not know
// why anything changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engines/descriptor/apply_step.h"
#include "engines/descriptor/step_image.h"
#include "harness/contract/step_descriptor.h"

namespace kvrm {

struct CommitResult {
  Epoch epoch = 0;
  CommitKind kind = CommitKind::edits;
  std::size_t bytes = 0;
};

class DescriptorBuilder {
 public:
  explicit DescriptorBuilder(const StepLimits& limits);

  // At most one edit of a slot per commit. `token` is the token that the row consumes, known here
  // even where the edit leaves it to the device to read it.
  void edit_slot(const SlotEdit& edit, TokenId token);
  // In order; a later edit of an entry replaces an earlier one.
  void edit_table(std::span<const TableEdit> edits);

  // Writes everything since the last commit into the channel's free record and publishes it by one
  // release store. CHECKs that the record's previous use has been applied.
  CommitResult commit(CommitChannel& channel);

  // What the device's image must be once every edit so far has been committed and applied.
  std::span<const std::byte> shadow() const { return {shadow_memory_.get(), shadow_bytes_}; }
  std::size_t bytes() const;  // host memory held

 private:
  struct FreeAligned {
    void operator()(std::byte* memory) const;
  };

  StepLimits limits_;
  std::size_t shadow_bytes_ = 0;
  std::unique_ptr<std::byte[], FreeAligned> shadow_memory_;
  StepImage shadow_;
  std::vector<SlotEdit> slot_edits_;    // capacity slots
  std::vector<TableEdit> table_edits_;  // capacity max_table_edits
  bool overflowed_ = false;
  Epoch epoch_ = 0;
};

// The bound at which a list of edits stops being smaller than the whole image.
std::uint32_t default_max_table_edits(const StepImageShape& shape);

}  // namespace kvrm
