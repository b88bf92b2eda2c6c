#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "workloads/traces/row_parser.h"

namespace kvrm {
namespace {

using Json = nlohmann::json;

constexpr double kMostMilliseconds = 1e12;

// Where the value of a key stands in the line; the line's start where the key is absent.
std::size_t value_offset(std::string_view line, std::string_view key) {
  const std::size_t at = line.find(fmt::format("\"{}\"", key));
  if (at == std::string_view::npos) return 0;
  const std::size_t value = line.find_first_not_of(" :\t", at + key.size() + 2);
  return value == std::string_view::npos ? at : value;
}

std::string short_text(const Json& value) {
  return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 40);
}

// Of a list in a list only that it is one: it may be too deep to be walked.
std::string describe(const Json& row, std::string_view key) {
  const auto found = row.find(std::string(key));
  if (found == row.end()) return "nothing";
  const auto is_nested = [](const Json& child) { return child.is_structured(); };
  if (std::none_of(found->begin(), found->end(), is_nested)) return short_text(*found);
  return found->is_array() ? "a list of lists or objects" : "an object of lists or objects";
}

Result<std::uint32_t> parse_tokens(const Json& row, const char* key, std::string_view line,
                                   const LinePlace& place) {
  const auto found = row.find(key);
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint32_t>::max();
  if (found != row.end() && found->is_number_unsigned()) {
    const auto value = found->get<std::uint64_t>();
    if (value >= 1 && value <= kMax) return static_cast<std::uint32_t>(value);
  }
  return trace_error(place, value_offset(line, key), key, describe(row, key),
                     fmt::format("an integer from 1 to {}", kMax));
}

Result<Nanoseconds> parse_milliseconds(const Json& row, std::string_view line,
                                       const LinePlace& place) {
  const auto found = row.find("timestamp");
  if (found != row.end() && found->is_number()) {
    const auto value = found->get<double>();
    if (value >= 0 && value <= kMostMilliseconds)
      return static_cast<Nanoseconds>(std::llround(value * 1e6));
  }
  return trace_error(place, value_offset(line, "timestamp"), "timestamp",
                     describe(row, "timestamp"), "milliseconds from 0 to 1e+12");
}

Result<std::vector<std::uint64_t>> parse_blocks(const Json& row, std::string_view line,
                                                const LinePlace& place) {
  std::vector<std::uint64_t> blocks;
  const auto found = row.find("hash_ids");
  if (found == row.end()) return blocks;
  bool good = found->is_array();
  for (const Json& id : *found) {
    good = good && id.is_number_unsigned();
    if (good) blocks.push_back(id.get<std::uint64_t>());
  }
  if (good) return blocks;
  return trace_error(place, value_offset(line, "hash_ids"), "hash_ids", describe(row, "hash_ids"),
                     "a list of integers from 0");
}

Result<Json> parse_object(std::string_view line, const LinePlace& place) {
  try {
    Json row = Json::parse(line);
    if (row.is_object()) return row;
  } catch (const Json::parse_error& error) {
    return trace_error(place, error.byte == 0 ? 0 : error.byte - 1, "row", "text that is not JSON",
                       "a JSON object on each line");
  } catch (const Json::out_of_range&) {
    return trace_error(place, 0, "row", "a number beyond all doubles",
                       "a JSON object on each line");
  }
  return trace_error(place, 0, "row", "JSON that is no object", "a JSON object on each line");
}

// Mooncake's JSON lines: timestamp in ms, input_length, output_length, hash_ids of prefix blocks.
class MooncakeParser final : public RowParser {
 private:
  Result<bool> do_read_header(std::string_view /*line*/, const LinePlace& /*place*/) override {
    return false;
  }
  Result<ParsedLine> do_parse(std::string_view line, const LinePlace& place) const override {
    const auto row = parse_object(line, place);
    if (!row) return tl::unexpected<Error>(row.error());
    const auto arrival = parse_milliseconds(*row, line, place);
    if (!arrival) return tl::unexpected<Error>(arrival.error());
    const auto prompt = parse_tokens(*row, "input_length", line, place);
    if (!prompt) return tl::unexpected<Error>(prompt.error());
    const auto output = parse_tokens(*row, "output_length", line, place);
    if (!output) return tl::unexpected<Error>(output.error());
    auto blocks = parse_blocks(*row, line, place);
    if (!blocks) return tl::unexpected<Error>(blocks.error());
    return ParsedLine{TraceRow{*arrival, *prompt, *output, std::move(*blocks)},
                      value_offset(line, "timestamp")};
  }
  std::string_view do_arrival_column() const override { return "timestamp"; }
};

}  // namespace

TraceFormat mooncake_format() {
  return {"mooncake", "{\"timestamp\": .., \"input_length\": .., \"output_length\": ..}",
          [](std::string_view line) { return line.starts_with('{'); },
          []() -> std::unique_ptr<RowParser> { return std::make_unique<MooncakeParser>(); }};
}

}  // namespace kvrm
