// What the suites that measure in rounds share: a device of so many workers with its kernels and
// its bandwidth probe, and the walk over the points of a suite that a run asks for. What a point
// measures is its suite's business.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engines/bench/bandwidth_probe.h"
#include "harness/base/result.h"
#include "harness/bench/bench.h"
#include "harness/device/device.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

class BenchGround {
 public:
  static Result<BenchGround> make(const Registry& registry, const BenchRun& run,
                                  std::uint32_t threads);

  Device& device() const { return *device_; }
  const KernelSet& kernels() const { return kernels_; }
  const KernelSet& reference() const { return reference_; }
  const BenchRun& run() const { return run_; }
  // Made at the first call.
  Result<BandwidthProbe*> read_probe();

 private:
  BenchGround() = default;

  BenchRun run_;
  std::unique_ptr<Device> device_;
  KernelSet kernels_;
  KernelSet reference_;
  std::unique_ptr<BandwidthProbe> probe_;  // of the device
};

// One shape of a suite.
struct BenchPoint {
  std::string shape;
  std::uint64_t memory_bytes = 0;  // points above 8 GiB are skipped and named
  std::function<Result<std::vector<BenchRow>>(BenchGround&)> measure;
};

// Every point that the run asks for, at every thread count. An error where it asks for one that is
// not there.
Result<BenchReport> measure_points(const Registry& registry, const BenchRun& run,
                                   const std::vector<BenchPoint>& points);

}  // namespace kvrm
