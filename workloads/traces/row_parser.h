// What one trace format adds to the common reader: how its first line looks and how a line becomes
// a row. The list of all formats is in trace_reader.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "harness/base/result.h"
#include "workloads/traces/trace_reader.h"

namespace kvrm {

// Where a line stands, for errors.
struct LinePlace {
  std::string_view file;
  std::uint64_t line = 0;
};

// "FILE:LINE:COL: COLUMN: found FOUND, allowed: ALLOWED"; `offset` is from 0 in the line.
tl::unexpected<Error> trace_error(const LinePlace& place, std::size_t offset,
                                  std::string_view column, std::string_view found,
                                  std::string_view allowed);

struct ParsedLine {
  std::optional<TraceRow> row;     // none: a failed request, to be skipped
  std::size_t arrival_offset = 0;  // where the arrival stands in the line
};

class RowParser {
 public:
  virtual ~RowParser() = default;
  // Looks at the first line of the file. True: it is a header and no row.
  Result<bool> read_header(std::string_view line, const LinePlace& place) {
    return do_read_header(line, place);
  }
  Result<ParsedLine> parse(std::string_view line, const LinePlace& place) const {
    return do_parse(line, place);
  }
  // Name of the column with the arrival, for errors.
  std::string_view arrival_column() const { return do_arrival_column(); }

 private:
  virtual Result<bool> do_read_header(std::string_view line, const LinePlace& place) = 0;
  virtual Result<ParsedLine> do_parse(std::string_view line, const LinePlace& place) const = 0;
  virtual std::string_view do_arrival_column() const = 0;
};

struct TraceFormat {
  std::string name;
  std::string description;                    // of a first line, for errors
  bool (*recognises)(std::string_view line);  // by the first line
  std::unique_ptr<RowParser> (*make_parser)();
};

TraceFormat plain_format();
TraceFormat azure_format();
TraceFormat burstgpt_format();
TraceFormat mooncake_format();

}  // namespace kvrm
