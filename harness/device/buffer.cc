#include <utility>

#include "harness/device/device.h"

namespace kvrm {

Buffer::Buffer(Device& device, std::byte* data, std::size_t bytes, MemoryPurpose purpose)
    : device_(&device), data_(data), bytes_(bytes), purpose_(purpose) {}

Buffer::Buffer(Buffer&& other) noexcept
    : device_(std::exchange(other.device_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      purpose_(other.purpose_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  Buffer old(std::move(*this));
  device_ = std::exchange(other.device_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  purpose_ = other.purpose_;
  return *this;
}

Buffer::~Buffer() {
  if (device_ != nullptr) device_->do_free(data_, bytes_, purpose_);
}

}  // namespace kvrm
