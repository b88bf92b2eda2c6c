// Was a series of step latencies stationary, or did it drift while it was measured? A check after
// the fact, not a way to choose the warm-up.
#pragma once

#include <cstddef>
#include <span>

namespace kvrm {

inline constexpr std::size_t kSteadyBatches = 20;
inline constexpr double kSteadyTolerance = 0.05;

// Cuts the series into 20 batches of equal size, so that neighbours' correlation averages out, and
// compares the ten batch means of the first half with those of the second. Not steady when their
// means differ by more than 5% *and* the difference is significant (Welch's t above 2.878, the
// two-sided 1% point at 18 degrees of freedom). Fewer than 20 values: not steady, since nothing
// shows that it was.
bool is_steady(std::span<const double> series);

}  // namespace kvrm
