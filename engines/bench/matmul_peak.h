// The rate of large square matrix products on all workers of a device at once, each by oneDNN on
// one thread: what prefill's products are measured against.
#pragma once

#include <cstdint>
#include <memory>

#include "harness/base/units.h"
#include "harness/contract/model.h"
#include "harness/device/device.h"

namespace kvrm {

class MatmulPeak {
 public:
  // Products of [size, size] matrices. A CPU without products in bf16 does them in f32.
  MatmulPeak(Device& device, std::uint32_t size, DType dtype);
  ~MatmulPeak();
  MatmulPeak(const MatmulPeak&) = delete;
  MatmulPeak& operator=(const MatmulPeak&) = delete;

  Nanoseconds measure();
  std::uint64_t operations() const;  // floating-point ones, of one measurement
  double gflops() { return static_cast<double>(operations()) / static_cast<double>(measure()); }
  // The largest error of any element of the last products, whose exact values are known.
  double error() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kvrm
