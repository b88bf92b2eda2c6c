// The yardstick of every bandwidth figure: how fast all workers of a device read memory from front
// to back, now. It reads memory of its own, which also leaves the caches full of it. It knows
// nothing about KV.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "harness/base/result.h"
#include "harness/device/device.h"

namespace kvrm {

class BandwidthProbe {
 public:
  // Reads `bytes` at a time, out of twice as much.
  static Result<BandwidthProbe> make(Device& device, std::size_t bytes);
  // At least 256 MiB, and enough to leave little else in the last-level cache.
  static std::size_t full_bytes();

  // GB/s of one read.
  double measure();

 private:
  BandwidthProbe(Device& device, Buffer memory, std::size_t bytes)
      : device_(&device), memory_(std::move(memory)), bytes_(bytes) {}

  Device* device_;
  Buffer memory_;
  std::size_t bytes_;
  std::size_t next_ = 0;
};

}  // namespace kvrm
