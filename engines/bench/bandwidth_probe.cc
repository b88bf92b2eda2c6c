#include "engines/bench/bandwidth_probe.h"

#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "engines/bench/memory_loops.h"
#include "harness/base/check.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

// Large enough that its beginning costs nothing, small enough that all workers end together.
constexpr std::size_t kPieceBytes = 2 * kMiB;

struct ReadArgs {
  const std::byte* first = nullptr;
  std::uint64_t bytes = 0;
  std::uint64_t* sums = nullptr;  // [pieces]; so that no read is for nothing
};

void read_piece(const void* raw_args, std::uint32_t item, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const ReadArgs*>(raw_args);
  const std::uint64_t begin = item * kPieceBytes;
  args.sums[item] =
      read_span(args.first + begin, std::min<std::uint64_t>(kPieceBytes, args.bytes - begin));
}

constexpr Kernel kReadKernel{"bench/read", read_piece};

}  // namespace

Result<BandwidthProbe> BandwidthProbe::make(Device& device, std::size_t bytes) {
  KVRM_CHECK_EQ(bytes % kReadUnit, 0U);
  auto memory = device.allocate(MemoryPurpose::kv_view, 2 * bytes);
  if (!memory) return tl::unexpected<Error>(memory.error());
  return BandwidthProbe(device, *std::move(memory), bytes);
}

std::size_t BandwidthProbe::full_bytes() {
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  const std::size_t cache_bytes = cache > 0 ? static_cast<std::size_t>(cache) : 0;
  return round_up(std::max(256 * kMiB, cache_bytes + cache_bytes / 2), kPieceBytes);
}

double BandwidthProbe::measure() {
  std::vector<std::uint64_t> sums(divide_up(bytes_, kPieceBytes));
  const ReadArgs args{memory_.data() + next_, bytes_, sums.data()};
  next_ = next_ == 0 ? bytes_ : 0;
  const Op op{&kReadKernel, &args, sizeof(args), static_cast<std::uint32_t>(sums.size())};
  const Nanoseconds start = device_->clock().now();
  device_->launch(op);
  device_->wait();
  const Nanoseconds elapsed = std::max<Nanoseconds>(1, device_->clock().now() - start);
  return static_cast<double>(bytes_) / static_cast<double>(elapsed);
}

}  // namespace kvrm
