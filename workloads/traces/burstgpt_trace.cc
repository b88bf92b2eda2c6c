#include "workloads/traces/fields.h"

namespace kvrm {
namespace {

constexpr std::string_view kHeader =
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type";

// BurstGPT: seconds, and failed requests with 0 response tokens, which are skipped.
class BurstGptParser final : public RowParser {
 private:
  Result<bool> do_read_header(std::string_view line, const LinePlace& place) override {
    return require_header(line, kHeader, place);
  }
  Result<ParsedLine> do_parse(std::string_view line, const LinePlace& place) const override {
    auto fields = parse_fields(line, 6, kHeader, place);
    if (!fields) return tl::unexpected<Error>(fields.error());
    const auto arrival = parse_seconds((*fields)[0], "Timestamp", place);
    if (!arrival) return tl::unexpected<Error>(arrival.error());
    const auto output = parse_tokens((*fields)[3], "Response tokens", place, 0);
    if (!output) return tl::unexpected<Error>(output.error());
    const auto prompt = parse_tokens((*fields)[2], "Request tokens", place, *output == 0 ? 0 : 1);
    if (!prompt) return tl::unexpected<Error>(prompt.error());
    if (*output == 0) return ParsedLine{};
    return ParsedLine{TraceRow{*arrival, *prompt, *output, {}}, 0};
  }
  std::string_view do_arrival_column() const override { return "Timestamp"; }
};

}  // namespace

TraceFormat burstgpt_format() {
  return {"burstgpt", std::string(kHeader), [](std::string_view line) { return line == kHeader; },
          []() -> std::unique_ptr<RowParser> { return std::make_unique<BurstGptParser>(); }};
}

}  // namespace kvrm
