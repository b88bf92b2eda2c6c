#include "harness/device/phase_signal.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "harness/base/units.h"
#include "harness/device/clock.h"

namespace kvrm {
namespace {

// Longer than the gaps between operations of a step, shorter than a scheduler's time slice.
constexpr Nanoseconds kSpinLimit = 50'000;
constexpr int kSpinsBetweenClockReads = 64;

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

void futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value) {
  syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

}  // namespace

void PhaseSignal::raise() {
  // Sequentially consistent against sleep_past(): either the sleeper is seen here, or it sees the
  // new value.
  value_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) futex(value_, FUTEX_WAKE, INT_MAX);
}

void PhaseSignal::wait_past(std::uint32_t seen) {
  if (!spin_past(seen)) sleep_past(seen);
}

bool PhaseSignal::spin_past(std::uint32_t seen) const {
  const SteadyClock clock;
  Nanoseconds start = -1;
  while (true) {
    for (int spin = 0; spin < kSpinsBetweenClockReads; ++spin) {
      if (value_.load(std::memory_order_acquire) != seen) return true;
      __builtin_ia32_pause();
    }
    const Nanoseconds now = clock.now();
    if (start < 0) start = now;
    if (now - start > kSpinLimit) return false;
  }
}

void PhaseSignal::sleep_past(std::uint32_t seen) {
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (value_.load(std::memory_order_seq_cst) == seen) futex(value_, FUTEX_WAIT, seen);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace kvrm
