#include "workloads/traces/fields.h"

namespace kvrm {
namespace {

constexpr std::string_view kHeader = "arrival_s,prompt_tokens,output_tokens";

// The suite's own format: arrival_s,prompt_tokens,output_tokens with a header.
class PlainParser final : public RowParser {
 private:
  Result<bool> do_read_header(std::string_view line, const LinePlace& place) override {
    return require_header(line, kHeader, place);
  }
  Result<ParsedLine> do_parse(std::string_view line, const LinePlace& place) const override {
    auto fields = parse_fields(line, 3, kHeader, place);
    if (!fields) return tl::unexpected<Error>(fields.error());
    const auto arrival = parse_seconds((*fields)[0], "arrival_s", place);
    if (!arrival) return tl::unexpected<Error>(arrival.error());
    const auto prompt = parse_tokens((*fields)[1], "prompt_tokens", place);
    if (!prompt) return tl::unexpected<Error>(prompt.error());
    const auto output = parse_tokens((*fields)[2], "output_tokens", place);
    if (!output) return tl::unexpected<Error>(output.error());
    return ParsedLine{TraceRow{*arrival, *prompt, *output, {}}, 0};
  }
  std::string_view do_arrival_column() const override { return "arrival_s"; }
};

}  // namespace

TraceFormat plain_format() {
  return {"plain", std::string(kHeader), [](std::string_view line) { return line == kHeader; },
          []() -> std::unique_ptr<RowParser> { return std::make_unique<PlainParser>(); }};
}

}  // namespace kvrm
