// What the suites that measure in rounds share: a device of so many workers with its kernels and
// its bandwidth probe, and which of a suite's points a run asks for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engines/bench/bandwidth_probe.h"
#include "harness/base/result.h"
#include "harness/bench/bench.h"
#include "harness/device/device.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

struct BenchGround {
  std::unique_ptr<Device> device;
  KernelSet kernels;
  KernelSet reference;
  std::unique_ptr<BandwidthProbe> probe;  // of the device
};

Result<BenchGround> make_bench_ground(const Registry& registry, const BenchRun& run,
                                      std::uint32_t threads);

// Worker counts to run with, one after the other.
std::vector<std::uint32_t> thread_counts(const BenchRun& run);

// Whether the run asks for a shape of this name.
bool asks_for(const BenchRun& run, const std::string& shape);

// An error where the run names a shape that is not one of `names`.
Status check_shape_names(const BenchRun& run, const std::vector<std::string>& names);

}  // namespace kvrm
