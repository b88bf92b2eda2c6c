// A trace of production requests, read row by row: when each arrived and how long it was. One error
// names the file, row and column of whatever is wrong. Traces are facts; scaling them is the
// generators' job.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/base/units.h"

namespace kvrm {

struct TraceRow {
  Nanoseconds arrival = 0;  // on the file's own clock; never falls from row to row
  std::uint32_t prompt_tokens = 0;
  std::uint32_t output_tokens = 0;
  std::vector<std::uint64_t>
      prefix_blocks;  // ids of the prompt's blocks, where the format has them
};

class TraceReader {
 public:
  virtual ~TraceReader() = default;
  // The next row, none at the end.
  Result<std::optional<TraceRow>> next() { return do_next(); }
  const std::string& format() const { return do_format(); }
  // Rows passed over so far, because the request failed and has no output.
  std::uint64_t skipped_rows() const { return do_skipped_rows(); }

 private:
  virtual Result<std::optional<TraceRow>> do_next() = 0;
  virtual const std::string& do_format() const = 0;
  virtual std::uint64_t do_skipped_rows() const = 0;
};

// `format` is a name of trace_format_names(), or `auto`: told by the first line.
Result<std::unique_ptr<TraceReader>> open_trace(const std::string& file, const std::string& format);

std::vector<std::string> trace_format_names();

}  // namespace kvrm
