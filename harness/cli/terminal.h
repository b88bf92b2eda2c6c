// Progress and interruption: a bar with the time left on a terminal, plain lines elsewhere, and the
// flag that SIGINT and SIGTERM set.
#pragma once

#include <atomic>
#include <string>

#include "harness/base/units.h"

namespace kvrm {

// Writes to standard error, so that standard output holds only results.
class ProgressBar {
 public:
  explicit ProgressBar(bool quiet);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  // `share` of the whole command that is done, in [0, 1]; `what` is done now.
  void update(double share, const std::string& what);
  // Removes the bar, so that something else may be printed.
  void clear();

 private:
  void draw_bar(double share, const std::string& what, Nanoseconds elapsed);
  void print_line(double share, const std::string& what);

  bool quiet_;
  bool terminal_;
  Nanoseconds start_;
  Nanoseconds last_drawn_ = 0;
  std::string last_what_;
  bool drawn_ = false;
};

// While it lives, the first SIGINT or SIGTERM sets the flag and a second one ends the program as
// usual.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  const std::atomic<bool>& flag() const;
};

// Colour on standard output: a terminal, and NO_COLOR not set.
bool use_color();

}  // namespace kvrm
