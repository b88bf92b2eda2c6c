// Fields of one comma-separated line and the numbers in them. No quoting: no trace format here has
// it.
#pragma once

#include <string_view>
#include <vector>

#include "workloads/traces/row_parser.h"

namespace kvrm {

struct Field {
  std::string_view text;
  std::size_t offset = 0;  // in the line, from 0
};

std::vector<Field> split_fields(std::string_view line);

// A token count from 1 (or from `min`) to 4294967295.
Result<std::uint32_t> parse_tokens(const Field& field, std::string_view column,
                                   const LinePlace& place, std::uint32_t min = 1);

// Seconds from 0 to a billion.
Result<Nanoseconds> parse_seconds(const Field& field, std::string_view column,
                                  const LinePlace& place);

// The fields, as many as the header has.
Result<std::vector<Field>> parse_fields(std::string_view line, std::size_t count,
                                        std::string_view header, const LinePlace& place);

// True where the line is exactly the header; otherwise one error.
Result<bool> require_header(std::string_view line, std::string_view header, const LinePlace& place);

}  // namespace kvrm
