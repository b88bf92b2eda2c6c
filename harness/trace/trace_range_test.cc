// Ranges where no tool listens. What a tool receives is property_tests/profiling's business.
#include "harness/trace/trace_range.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <type_traits>

#include "harness/trace/allocation_count.h"

namespace kvrm {
namespace {

constexpr int kRanges = 10'000;

TEST(TraceRange, AllocatesNothingWhereNoToolListens) {
  if (!kCountsAllocations) GTEST_SKIP() << "a sanitizer has its own operator new";
  unsetenv("NVTX_INJECTION64_PATH");
  { const TraceRange first(TraceName::plan, 0); }  // registers the names
  const std::uint64_t before = allocation_count();
  StepTrace step;
  for (Epoch epoch = 1; epoch <= kRanges; ++epoch) {
    const TraceRange outer(TraceName::admit, epoch);
    step.begin(TraceName::plan, epoch);
    step.next(TraceName::commit);
    step.end();
  }
  EXPECT_EQ(allocation_count(), before);
  ::operator delete(::operator new(1));
  EXPECT_EQ(allocation_count(), before + 1) << "allocations are not counted";
}

TEST(TraceRange, GivesWhatTheCallGives) {
  int value = 7;
  EXPECT_EQ(traced(TraceName::prefill, 1, [&] { return value + 1; }), 8);
  static_assert(
      std::is_same_v<decltype(traced(TraceName::admit, 1, [&]() -> int& { return value; })), int&>);
}

}  // namespace
}  // namespace kvrm
