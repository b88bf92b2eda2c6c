#include "workloads/traces/fields.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

namespace kvrm {
namespace {

constexpr double kMostSeconds = 1e9;
constexpr std::size_t kLongestQuote = 40;

std::string quote(std::string_view text) {
  if (text.size() <= kLongestQuote) return fmt::format("\"{}\"", text);
  return fmt::format("\"{}...\"", text.substr(0, kLongestQuote));
}

template <class T>
std::optional<T> whole_number(std::string_view text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

}  // namespace

tl::unexpected<Error> trace_error(const LinePlace& place, std::size_t offset,
                                  std::string_view column, std::string_view found,
                                  std::string_view allowed) {
  return bad_input(fmt::format("{}:{}:{}: {}: found {}, allowed: {}", place.file, place.line,
                               offset + 1, column, found, allowed));
}

std::vector<Field> split_fields(std::string_view line) {
  std::vector<Field> fields;
  for (std::size_t begin = 0; begin <= line.size();) {
    const std::size_t end = std::min(line.find(',', begin), line.size());
    fields.push_back({line.substr(begin, end - begin), begin});
    begin = end + 1;
  }
  return fields;
}

Result<std::uint32_t> parse_tokens(const Field& field, std::string_view column,
                                   const LinePlace& place, std::uint32_t min) {
  const auto value = whole_number<std::uint32_t>(field.text);
  if (value && *value >= min) return *value;
  return trace_error(
      place, field.offset, column, quote(field.text),
      fmt::format("an integer from {} to {}", min, std::numeric_limits<std::uint32_t>::max()));
}

Result<Nanoseconds> parse_seconds(const Field& field, std::string_view column,
                                  const LinePlace& place) {
  const auto value = whole_number<double>(field.text);
  if (value && *value >= 0 && *value <= kMostSeconds) {
    return static_cast<Nanoseconds>(std::llround(*value * 1e9));
  }
  return trace_error(place, field.offset, column, quote(field.text), "seconds from 0 to 1e+09");
}

Result<std::vector<Field>> parse_fields(std::string_view line, std::size_t count,
                                        std::string_view header, const LinePlace& place) {
  std::vector<Field> fields = split_fields(line);
  if (fields.size() == count) return fields;
  return trace_error(place, fields.size() > count ? fields[count].offset : line.size(), "row",
                     fmt::format("{} fields", fields.size()), fmt::format("{}: {}", count, header));
}

Result<bool> require_header(std::string_view line, std::string_view header,
                            const LinePlace& place) {
  if (line == header) return true;
  return trace_error(place, 0, "header", quote(line), std::string(header));
}

}  // namespace kvrm
