// The ranges of a run for whoever profiles it: NVTX 3, domain `kvrm`, a registered string a name,
// the step as payload. Where each begins and ends: docs/profiling.md. A range reads no clock and
// allocates nothing; where the NVTX headers are absent it compiles to nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/base/ids.h"
#include "harness/base/mutation.h"

namespace kvrm {

enum class TraceName : std::uint8_t { admit, prefill, plan, commit, replay, sample, release };
inline constexpr std::size_t kTraceNames = 7;

namespace trace {

#ifdef KVRM_NVTX
inline constexpr bool kBuiltIn = true;
void push(TraceName name, Epoch step);
void pop();
#else
inline constexpr bool kBuiltIn = false;
inline void push(TraceName /*name*/, Epoch /*step*/) {}
inline void pop() {}
#endif

}  // namespace trace

// A range that is as long as a scope.
class [[maybe_unused]] TraceRange {
 public:
  TraceRange(TraceName name, Epoch step) { trace::push(name, step); }
  ~TraceRange() { trace::pop(); }
  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;
};

// What `call` gives, in a range that is as long as the call.
template <class Call>
decltype(auto) traced(TraceName name, Epoch step, Call&& call) {
  const TraceRange range(name, step);
  return call();
}

// The ranges of an engine's step, one behind the other: each ends where the next begins, the last
// one in another call than the first. What is still open ends with the object, so that a step that
// fails leaves none.
class StepTrace {
 public:
  StepTrace() = default;
  ~StepTrace() { KVRM_MUTATE(trace_failed_step_left_open, end(), void()); }
  StepTrace(const StepTrace&) = delete;
  StepTrace& operator=(const StepTrace&) = delete;

  void begin(TraceName name, Epoch step) {
    end();
    trace::push(name, step);
    step_ = step;
    open_ = true;
  }
  void next(TraceName name) { begin(name, step_); }
  void end() {
    if (open_) trace::pop();
    open_ = false;
  }

 private:
  Epoch step_ = 0;
  bool open_ = false;
};

}  // namespace kvrm
