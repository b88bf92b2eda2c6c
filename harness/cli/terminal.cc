#include "harness/cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace kvrm {
namespace {

constexpr int kBarWidth = 30;
constexpr Nanoseconds kRedrawInterval = 100 * kNanosecondsPerMillisecond;

Nanoseconds steady_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The one global of the program: a signal handler can reach nothing else.
std::atomic<bool> g_interrupted{false};

void on_interrupt(int signal) {
  if (g_interrupted.exchange(true)) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

std::string time_left(double share, Nanoseconds elapsed) {
  if (share <= 0.01) return "";
  const double left = static_cast<double>(elapsed) * (1 - share) / share;
  const auto seconds = static_cast<long>(left / static_cast<double>(kNanosecondsPerSecond));
  return fmt::format("{}:{:02} left", seconds / 60, seconds % 60);
}

}  // namespace

ProgressBar::ProgressBar(bool quiet)
    : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1), start_(steady_now()) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::update(double share, const std::string& what) {
  if (quiet_) return;
  if (!terminal_) {
    print_line(share, what);
    return;
  }
  const Nanoseconds now = steady_now();
  if (drawn_ && now - last_drawn_ < kRedrawInterval) return;
  last_drawn_ = now;
  draw_bar(share, what, now - start_);
}

void ProgressBar::draw_bar(double share, const std::string& what, Nanoseconds elapsed) {
  const int filled = static_cast<int>(share * kBarWidth);
  fmt::print(stderr, "\r\x1b[K[{:=<{}}{: <{}}] {:3.0f}% {} {}", "", filled, "", kBarWidth - filled,
             share * 100, time_left(share, elapsed), what);
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressBar::print_line(double share, const std::string& what) {
  if (what == last_what_) return;
  last_what_ = what;
  fmt::print(stderr, "{:3.0f}% {}\n", share * 100, what);
}

void ProgressBar::clear() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

InterruptGuard::InterruptGuard() {
  g_interrupted = false;
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

const std::atomic<bool>& InterruptGuard::flag() const { return g_interrupted; }

bool use_color() { return isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr; }

}  // namespace kvrm
