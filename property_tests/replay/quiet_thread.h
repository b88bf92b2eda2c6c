// What the calling thread does besides computing while it is watched: allocations, locks and system
// calls, each counted as it happens. Replaces malloc's and pthread's entry points of the program
// that links it; tests only. Sanitizers have their own, so that with them nothing can be watched.
#pragma once

#include <cstddef>

namespace kvrm::quiet {

struct Counts {
  std::size_t allocations = 0;  // malloc and all that ends there, operator new among it
  std::size_t locks = 0;        // mutexes and read-write locks taken or tried
  std::size_t calls = 0;        // system calls, futex calls left out
  std::size_t futex_calls = 0;  // a thread that was waited for longer than it spins, and its waker
  long last_call = -1;          // the number of the last system call that was none of those
};

// Whether this build and this system can watch; if not, why.
const char* why_not();

// Watches the thread that made it until it goes. They do not nest.
class Watch {
 public:
  explicit Watch(Counts& counts);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
};

// Looks away from the watched thread until it goes; does nothing where nobody watches.
class LookAway {
 public:
  LookAway();
  ~LookAway();
  LookAway(const LookAway&) = delete;
  LookAway& operator=(const LookAway&) = delete;

 private:
  Counts* counts_;
};

}  // namespace kvrm::quiet
