#include "workloads/traces/trace_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "workloads/traces/line_reader.h"
#include "workloads/traces/row_parser.h"

namespace kvrm {
namespace {

std::vector<TraceFormat> all_formats() {
  return {plain_format(), azure_format(), burstgpt_format(), mooncake_format()};
}

class FileTraceReader final : public TraceReader {
 public:
  FileTraceReader(LineReader lines, std::string format, std::unique_ptr<RowParser> parser,
                  std::optional<std::string> first_row)
      : lines_(std::move(lines)),
        format_(std::move(format)),
        parser_(std::move(parser)),
        pending_line_(std::move(first_row)) {}

 private:
  Result<std::optional<TraceRow>> do_next() override {
    for (;;) {
      Result<std::optional<std::string>> line = take_line();
      if (!line) return tl::unexpected<Error>(line.error());
      if (!*line) return end();
      const LinePlace place{lines_.file(), lines_.line_number()};
      if ((*line)->empty())
        return trace_error(place, 0, "row", "an empty line", "a row on each line");
      Result<ParsedLine> parsed = parser_->parse(**line, place);
      if (!parsed) return tl::unexpected<Error>(parsed.error());
      if (!parsed->row) {
        ++skipped_rows_;
        continue;
      }
      return in_order(std::move(*parsed), place);
    }
  }

  Result<std::optional<std::string>> take_line() {
    if (!pending_line_) return lines_.next();
    std::optional<std::string> line = std::move(pending_line_);
    pending_line_.reset();
    return line;
  }

  Result<std::optional<TraceRow>> end() const {
    if (any_row_) return std::optional<TraceRow>();
    return bad_input(fmt::format("{}: found no row, allowed: at least one", lines_.file()));
  }

  Result<std::optional<TraceRow>> in_order(ParsedLine parsed, const LinePlace& place) {
    if (any_row_ && parsed.row->arrival < last_arrival_) {
      return trace_error(place, parsed.arrival_offset, parser_->arrival_column(),
                         "a time before that of the row above", "rows in order of time");
    }
    any_row_ = true;
    last_arrival_ = parsed.row->arrival;
    return std::move(parsed.row);
  }

  const std::string& do_format() const override { return format_; }
  std::uint64_t do_skipped_rows() const override { return skipped_rows_; }

  LineReader lines_;
  std::string format_;
  std::unique_ptr<RowParser> parser_;
  std::optional<std::string> pending_line_;  // a first line that is a row
  bool any_row_ = false;
  Nanoseconds last_arrival_ = 0;
  std::uint64_t skipped_rows_ = 0;
};

Result<TraceFormat> choose_format(const std::string& wanted, std::string_view first_line,
                                  const LinePlace& place) {
  std::string names;
  std::string descriptions;
  for (const TraceFormat& format : all_formats()) {
    if (format.name == wanted || (wanted == "auto" && format.recognises(first_line))) return format;
    names += ", " + format.name;
    descriptions +=
        fmt::format("{}{} ({})", descriptions.empty() ? "" : "; ", format.name, format.description);
  }
  if (wanted != "auto") {
    return bad_input(fmt::format("{}: found the trace format \"{}\", allowed: auto{}", place.file,
                                 wanted, names));
  }
  return trace_error(place, 0, "header", "a first line of no known format", descriptions);
}

}  // namespace

Result<std::unique_ptr<TraceReader>> open_trace(const std::string& file,
                                                const std::string& format) {
  Result<LineReader> lines = LineReader::open(file);
  if (!lines) return tl::unexpected<Error>(lines.error());
  Result<std::optional<std::string>> first = lines->next();
  if (!first) return tl::unexpected<Error>(first.error());
  if (!*first) return bad_input(fmt::format("{}:1:1: found an empty file, allowed: a trace", file));
  const LinePlace place{file, 1};
  Result<TraceFormat> chosen = choose_format(format, **first, place);
  if (!chosen) return tl::unexpected<Error>(chosen.error());
  std::unique_ptr<RowParser> parser = chosen->make_parser();
  const Result<bool> is_header = parser->read_header(**first, place);
  if (!is_header) return tl::unexpected<Error>(is_header.error());
  std::optional<std::string> first_row = *is_header ? std::nullopt : std::move(*first);
  return std::make_unique<FileTraceReader>(std::move(*lines), chosen->name, std::move(parser),
                                           std::move(first_row));
}

std::vector<std::string> trace_format_names() {
  std::vector<std::string> names;
  for (const TraceFormat& format : all_formats()) names.push_back(format.name);
  return names;
}

}  // namespace kvrm
