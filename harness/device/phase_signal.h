// A counter that one thread raises and others wait for: they spin a bounded time and then sleep in
// the kernel. Raising it costs a system call only while somebody sleeps. Not a queue: a waiter must
// see each value.
#pragma once

#include <atomic>
#include <cstdint>

namespace kvrm {

class PhaseSignal {
 public:
  std::uint32_t value() const { return value_.load(std::memory_order_acquire); }
  // Everything written before is visible to whoever sees the new value.
  void raise();
  // Returns once the value differs from `seen`.
  void wait_past(std::uint32_t seen);

 private:
  bool spin_past(std::uint32_t seen) const;
  void sleep_past(std::uint32_t seen);

  alignas(64) std::atomic<std::uint32_t> value_{0};
  alignas(64) std::atomic<std::uint32_t> sleepers_{0};
};

}  // namespace kvrm
