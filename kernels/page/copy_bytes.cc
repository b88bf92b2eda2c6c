#include "kernels/page/copy_bytes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/page/copy_bytes.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "harness/base/units.h"
#include "kernels/simd/targets.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Whole lines to a destination that begins at a line. Stores do not read the lines that they
// overwrite, and lines are asked for while those before them are copied, also over the end into
// the next copy's.
void stream_lines(const ByteCopy& copy) {
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kAhead = 2048;
  const hn::CappedTag<std::uint8_t, kLine> d;
  constexpr std::size_t kVectors =
      kLine / (HWY_LANES(std::uint8_t) < kLine ? HWY_LANES(std::uint8_t) : kLine);
  const auto* source = reinterpret_cast<const std::uint8_t*>(copy.source);
  auto* destination = reinterpret_cast<std::uint8_t*>(copy.destination);
  for (std::size_t at = 0; at < copy.bytes; at += kLine) {
    const std::size_t ahead = at + kAhead;
    hwy::Prefetch(ahead < copy.bytes ? copy.source + ahead : copy.next + (ahead - copy.bytes));
    for (std::size_t i = 0; i < kVectors; ++i) {
      const std::size_t place = at + i * hn::Lanes(d);
      hn::Stream(hn::LoadU(d, source + place), d, destination + place);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvrm {
namespace {

constexpr std::size_t kLine = 64;
// From here on what was copied first is no longer in the caches when it is read, so that keeping it
// out of them costs nothing (measured: docs/performance.md).
constexpr std::uint64_t kStreamedLaunchBytes = 96 * kMiB;
// Below, the ends of a copy cost more than its middle saves.
constexpr std::size_t kLeastStreamedBytes = 2 * kKiB;

void stream_whole_lines(const ByteCopy& copy) {
  if (cpu_runs_avx512()) return N_AVX3::stream_lines(copy);
  if (cpu_runs_avx2()) return N_AVX2::stream_lines(copy);
  if (cpu_runs_sse4()) return N_SSE4::stream_lines(copy);
  std::memcpy(copy.destination, copy.source, copy.bytes);
}

// The ends outside whole lines of the destination are stored plainly.
void stream(const ByteCopy& copy) {
  const std::size_t past_line = reinterpret_cast<std::uintptr_t>(copy.destination) % kLine;
  const std::size_t head = std::min((kLine - past_line) % kLine, copy.bytes);
  const std::size_t lines = (copy.bytes - head) / kLine * kLine;
  const std::size_t tail = head + lines;
  std::memcpy(copy.destination, copy.source, head);
  // Where no next copy is known, lines that were just read are asked for: at no cost.
  stream_whole_lines({.source = copy.source + head,
                      .destination = copy.destination + head,
                      .bytes = lines,
                      .next = copy.next == nullptr ? copy.source : copy.next});
  std::memcpy(copy.destination + tail, copy.source + tail, copy.bytes - tail);
}

}  // namespace

CopyLoop copy_loop_of(std::uint64_t launch_bytes) {
  return launch_bytes >= kStreamedLaunchBytes ? CopyLoop::streaming : CopyLoop::memcpy;
}

void ItemCopies::add(const ByteCopy& copy) const {
  if (loop_ == CopyLoop::streaming && copy.bytes >= kLeastStreamedBytes) return stream(copy);
  std::memcpy(copy.destination, copy.source, copy.bytes);
}

// Streaming stores are ordered by nothing but a fence: not even by the release store with which a
// worker says that its item has ended. Without it another worker could still read what was there
// before. One for all copies of an item, since each waits until the stores have left.
ItemCopies::~ItemCopies() {
  if (loop_ == CopyLoop::streaming) hwy::FlushStream();
}

}  // namespace kvrm
#endif  // HWY_ONCE
