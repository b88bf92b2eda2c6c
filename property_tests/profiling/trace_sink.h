// A tool as NVTX loads one: a shared library that keeps every range that a process pushes and pops,
// and says whatever else comes. A process names it in NVTX_INJECTION64_PATH and opens it for these
// functions, or sets KVRM_TRACE_FILE to have all of it written there when it ends.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct KvrmTraceEvent {
  std::uint64_t thread;
  std::uint64_t payload;  // of a push
  const char* domain;     // empty: the default one, or one that was never created
  const char* name;       // of a push; null where the message is not a registered string
  bool push;              // else a pop
  bool typed;             // the payload is an unsigned 64-bit number
};

// What came since the last call of kvrm_trace_clear(), in order.
const KvrmTraceEvent* kvrm_trace_events(std::size_t* count);
void kvrm_trace_clear();
// Calls that are no push and no pop of a domain: marks, ranges between threads, plain ranges.
std::uint64_t kvrm_trace_other_calls();
// Whether NVTX calls us at all; it does from the beginning. Without, it is as if no tool were here.
void kvrm_trace_listen(bool on);
}
