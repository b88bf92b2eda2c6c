#include "engines/descriptor/step_descriptor.h"

#include <atomic>
#include <cstring>
#include <new>
#include <utility>

#include "engines/descriptor/record_check.h"
#include "harness/base/units.h"

namespace kvrm {

Result<StepDescriptor> StepDescriptor::make(const StepLimits& limits, Device& device) {
  StepDescriptor result;
  result.limits_ = limits;
  result.image_size_ = step_image_bytes(limits.shape);
  Result<Buffer> image = device.allocate(MemoryPurpose::metadata, result.image_size_);
  if (!image) return tl::unexpected(image.error());
  result.image_buffer_ = std::move(*image);
  clear_step_image(result.image_buffer_.data(), limits.shape);
  result.image_ = place_step_image(result.image_buffer_.data(), limits.shape);

  const std::size_t channel_bytes = round_up(sizeof(CommitChannel), 64);
  const std::size_t record = round_up(record_capacity(limits), 64);
  Result<Buffer> channel = device.allocate(MemoryPurpose::metadata, channel_bytes + 2 * record);
  if (!channel) return tl::unexpected(channel.error());
  result.channel_buffer_ = std::move(*channel);
  std::byte* memory = result.channel_buffer_.data();
  result.channel_ = new (memory) CommitChannel;
  result.channel_->records[0] = memory + channel_bytes;
  result.channel_->records[1] = memory + channel_bytes + record;
  result.builder_ = std::make_unique<DescriptorBuilder>(limits);
  return result;
}

void StepDescriptor::append_apply(OpList& ops, const TokenId* sampled) const {
  // Value-initialised, so that the padding is zero as the launch hash wants it.
  auto args = ApplyStepArgs();
  args.channel = channel_;
  args.image = image_buffer_.data();
  args.sampled = sampled;
  args.limits = limits_;
  ops.add(&apply_step_kernel(), args, 1);
}

bool StepDescriptor::publish(std::span<const std::byte> record) {
  if (record.size() < sizeof(StepRecordHeader)) return false;
  const StepRecordHeader header = record_header(record.data());
  if (!sizes_fit(header, limits_) || record_bytes(header) != record.size()) return false;
  std::memcpy(channel_->records[header.epoch % 2], record.data(), record.size());
  std::atomic_ref<Epoch>(channel_->published).store(header.epoch, std::memory_order_release);
  return true;
}

}  // namespace kvrm
