#include "engines/bench/memory_loops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engines/bench/memory_loops.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "harness/base/check.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Eight independent sums, so that loads and not additions are what takes the time.
std::uint64_t read_span(const std::byte* first, std::size_t bytes) {
  const hn::ScalableTag<std::uint64_t> d;
  using Vector = hn::Vec<decltype(d)>;
  constexpr std::size_t kLanes = HWY_LANES(std::uint64_t);
  const auto* words = reinterpret_cast<const std::uint64_t*>(first);
  const std::size_t count = bytes / sizeof(std::uint64_t);
  Vector a = hn::Zero(d);
  Vector b = a;
  Vector c = a;
  Vector e = a;
  Vector f = a;
  Vector g = a;
  Vector h = a;
  Vector i = a;
  for (std::size_t at = 0; at < count; at += 8 * kLanes) {
    a = hn::Add(a, hn::LoadU(d, words + at));
    b = hn::Add(b, hn::LoadU(d, words + at + kLanes));
    c = hn::Add(c, hn::LoadU(d, words + at + 2 * kLanes));
    e = hn::Add(e, hn::LoadU(d, words + at + 3 * kLanes));
    f = hn::Add(f, hn::LoadU(d, words + at + 4 * kLanes));
    g = hn::Add(g, hn::LoadU(d, words + at + 5 * kLanes));
    h = hn::Add(h, hn::LoadU(d, words + at + 6 * kLanes));
    i = hn::Add(i, hn::LoadU(d, words + at + 7 * kLanes));
  }
  const Vector sum =
      hn::Add(hn::Add(hn::Add(a, b), hn::Add(c, e)), hn::Add(hn::Add(f, g), hn::Add(h, i)));
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvrm {

HWY_EXPORT(read_span);

std::uint64_t read_span(const std::byte* first, std::size_t bytes) {
  KVRM_CHECK_EQ(bytes % kReadUnit, 0U);
  return HWY_DYNAMIC_DISPATCH(read_span)(first, bytes);
}

}  // namespace kvrm
#endif  // HWY_ONCE
