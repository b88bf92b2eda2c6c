// What the tool of trace_sink.h received, in this process or, by the file that it wrote, in another
// one, as lines that compare with those of expected_ranges.h. Whatever is not as promised (another
// domain, a name that is no registered string, a payload of another type) is in its line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "property_tests/profiling/expected_ranges.h"

namespace kvrm {

// "" where this build has no NVTX ranges.
std::string trace_sink_path();

// Loads the tool; this process may not have had a range before.
class LoadedSink {
 public:
  LoadedSink();
  void clear();
  RangeLines lines() const;
  std::uint64_t threads() const;
  std::uint64_t other_calls() const;
  void listen(bool on);
};

// Lines of the file at KVRM_TRACE_FILE, without its threads; `others` last ("other 0").
RangeLines lines_of_file(const std::string& path);

// Begins less ends, and never fewer than none on the way.
bool is_balanced(const RangeLines& lines);

}  // namespace kvrm
