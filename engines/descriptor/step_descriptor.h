// The step descriptor of one engine, whole: the step image and the commit channel in device memory,
// and the builder on the host. The engine edits, commits, and replays a graph whose first node is
// append_apply()'s.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engines/descriptor/apply_step.h"
#include "engines/descriptor/descriptor_builder.h"
#include "engines/graph/op_list.h"
#include "harness/base/result.h"
#include "harness/device/device.h"

namespace kvrm {

class StepDescriptor {
 public:
  // `limits.max_table_bytes` bounds a record; see default_max_table_bytes(). No memory for the
  // image and its records is an error.
  static Result<StepDescriptor> make(const StepLimits& limits, Device& device);

  // The node that applies what was committed. `sampled` [slots] are the tokens of the step before,
  // null for attention_only.
  void append_apply(OpList& ops, const TokenId* sampled) const;

  DescriptorBuilder& builder() { return *builder_; }
  const DescriptorBuilder& builder() const { return *builder_; }
  CommitResult commit() { return builder_->commit(*channel_); }
  // The bytes of the record committed last, until the commit after the next.
  std::span<const std::byte> record() const { return builder_->record(); }
  // Publishes a record that an equal descriptor committed as its next one, read back from a log.
  // The builder takes no part in it. False: it is not as long as its header says, or longer than
  // any record of this shape.
  [[nodiscard]] bool publish(std::span<const std::byte> record);
  // Of the last replay. Anything but ok means that the record did not arrive as it was built.
  ApplyStatus status() const { return channel_->status; }

  const StepLimits& limits() const { return limits_; }
  const StepImage& image() const { return image_; }  // fixed addresses in device memory
  std::span<const std::byte> image_bytes() const { return {image_buffer_.data(), image_size_}; }
  std::size_t device_bytes() const { return image_buffer_.bytes() + channel_buffer_.bytes(); }

 private:
  StepDescriptor() = default;

  StepLimits limits_;
  std::size_t image_size_ = 0;
  Buffer image_buffer_;
  Buffer channel_buffer_;  // the channel, then its two records
  CommitChannel* channel_ = nullptr;
  StepImage image_;
  std::unique_ptr<DescriptorBuilder> builder_;
};

}  // namespace kvrm
