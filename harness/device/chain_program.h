// Test only: a list of operations whose outcome is wrong if any item ran twice, was left out, or
// ran before the operation before it had ended.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "harness/device/cpu_device.h"

namespace kvrm {

inline std::unique_ptr<Device> make_device(const CpuDeviceSpec& spec) {
  auto device = make_cpu_device(spec);
  EXPECT_TRUE(device.has_value()) << device.error().message;
  return *std::move(device);
}

// Adds to each element one more than the sum of the array before it: wrong if any item ran twice,
// was left out, or ran before the operation before it had ended. Plain memory, so that a missing
// happens-before is a race for the thread sanitizer.
struct ChainArgs {
  const std::uint64_t* before = nullptr;
  std::uint64_t before_count = 0;
  std::uint64_t* here = nullptr;
};

inline void chain(const void* raw, std::uint32_t item, WorkerContext& worker) {
  const auto& args = *static_cast<const ChainArgs*>(raw);
  std::memset(worker.scratch.data(), static_cast<int>(worker.worker + 1), 64);
  args.here[item] +=
      std::accumulate(args.before, args.before + args.before_count, std::uint64_t{1});
}
inline constexpr Kernel kChain{"test/chain", &chain};
inline constexpr Kernel kOtherName{"test/other", &chain};

class ChainProgram {
 public:
  explicit ChainProgram(std::vector<std::uint32_t> items) : items_(std::move(items)) {
    for (const std::uint32_t count : items_) arrays_.emplace_back(count, 0);
    args_.resize(items_.size());
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (i > 0) {
        args_[i].before = arrays_[i - 1].data();
        args_[i].before_count = arrays_[i - 1].size();
      }
      args_[i].here = arrays_[i].data();
      ops_.push_back({&kChain, &args_[i], sizeof(ChainArgs), items_[i]});
    }
  }

  std::span<const Op> ops() const { return ops_; }
  std::span<ChainArgs> args() { return args_; }
  const std::vector<std::vector<std::uint64_t>>& arrays() const { return arrays_; }

  // What `runs` runs in plain order give.
  std::vector<std::vector<std::uint64_t>> expected(int runs) const {
    std::vector<std::vector<std::uint64_t>> result;
    for (const std::uint32_t count : items_) result.emplace_back(count, 0);
    for (int run = 0; run < runs; ++run) {
      for (std::size_t i = 0; i < items_.size(); ++i) {
        const std::uint64_t sum =
            i == 0 ? 0
                   : std::accumulate(result[i - 1].begin(), result[i - 1].end(), std::uint64_t{0});
        for (std::uint64_t& value : result[i]) value += 1 + sum;
      }
    }
    return result;
  }

 private:
  std::vector<std::uint32_t> items_;
  std::vector<std::vector<std::uint64_t>> arrays_;
  std::vector<ChainArgs> args_;
  std::vector<Op> ops_;
};

}  // namespace kvrm
