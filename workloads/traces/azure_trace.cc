#include <array>
#include <chrono>
#include <optional>

#include "workloads/traces/fields.h"

namespace kvrm {
namespace {

constexpr std::string_view kHeader = "TIMESTAMP,ContextTokens,GeneratedTokens";

// Takes digits off the front of `text`; nothing where there are fewer.
std::optional<int> take_digits(std::string_view& text, std::size_t count) {
  if (text.size() < count) return std::nullopt;
  int value = 0;
  for (const char c : text.substr(0, count)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(count);
  return value;
}

bool take(std::string_view& text, char expected) {
  if (text.empty() || text.front() != expected) return false;
  text.remove_prefix(1);
  return true;
}

// "YYYY-MM-DD", as days since 1970.
std::optional<std::int64_t> take_date(std::string_view& text) {
  const auto year = take_digits(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date).time_since_epoch().count();
}

// "HH:MM:SS", as seconds.
std::optional<std::int64_t> take_time(std::string_view& text) {
  const auto hours = take_digits(text, 2);
  if (!hours || *hours > 23 || !take(text, ':')) return std::nullopt;
  const auto minutes = take_digits(text, 2);
  if (!minutes || *minutes > 59 || !take(text, ':')) return std::nullopt;
  const auto seconds = take_digits(text, 2);
  if (!seconds || *seconds > 60) return std::nullopt;
  return (*hours * 60 + *minutes) * 60 + *seconds;
}

// ".fffffff", up to nine digits; absent is 0.
std::optional<Nanoseconds> take_fraction(std::string_view& text) {
  if (!take(text, '.')) return 0;
  Nanoseconds value = 0;
  Nanoseconds unit = kNanosecondsPerSecond;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    if (unit == 1) return std::nullopt;
    unit /= 10;
    value += (text.front() - '0') * unit;
    text.remove_prefix(1);
  }
  return unit == kNanosecondsPerSecond ? std::nullopt : std::optional(value);
}

// "", "Z" or "+HH:MM", as seconds east of UTC.
std::optional<std::int64_t> take_zone(std::string_view& text) {
  if (text.empty() || take(text, 'Z')) return 0;
  const bool west = text.front() == '-';
  if (!west && text.front() != '+') return std::nullopt;
  text.remove_prefix(1);
  const auto hours = take_digits(text, 2);
  if (!hours || *hours > 14 || !take(text, ':')) return std::nullopt;
  const auto minutes = take_digits(text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const std::int64_t offset = (*hours * 60 + *minutes) * 60;
  return west ? -offset : offset;
}

std::optional<Nanoseconds> parse_timestamp(std::string_view text) {
  const auto days = take_date(text);
  if (!days || !(take(text, ' ') || take(text, 'T'))) return std::nullopt;
  const auto seconds = take_time(text);
  if (!seconds) return std::nullopt;
  const auto fraction = take_fraction(text);
  if (!fraction) return std::nullopt;
  const auto zone = take_zone(text);
  if (!zone || !text.empty() || *days < 0 || *days > 100'000) return std::nullopt;  // fits 64 bits
  return (*days * 86'400 + *seconds - *zone) * kNanosecondsPerSecond + *fraction;
}

// Azure Public Dataset, LLM inference traces of 2023 (no zone) and 2024 (UTC offset).
class AzureParser final : public RowParser {
 private:
  Result<bool> do_read_header(std::string_view line, const LinePlace& place) override {
    return require_header(line, kHeader, place);
  }
  Result<ParsedLine> do_parse(std::string_view line, const LinePlace& place) const override {
    auto fields = parse_fields(line, 3, kHeader, place);
    if (!fields) return tl::unexpected<Error>(fields.error());
    const auto arrival = parse_timestamp((*fields)[0].text);
    if (!arrival) {
      return trace_error(place, 0, "TIMESTAMP", "\"" + std::string((*fields)[0].text) + "\"",
                         "YYYY-MM-DD HH:MM:SS[.fffffffff][+HH:MM]");
    }
    const auto prompt = parse_tokens((*fields)[1], "ContextTokens", place);
    if (!prompt) return tl::unexpected<Error>(prompt.error());
    const auto output = parse_tokens((*fields)[2], "GeneratedTokens", place);
    if (!output) return tl::unexpected<Error>(output.error());
    return ParsedLine{TraceRow{*arrival, *prompt, *output, {}}, 0};
  }
  std::string_view do_arrival_column() const override { return "TIMESTAMP"; }
};

}  // namespace

TraceFormat azure_format() {
  return {"azure", std::string(kHeader), [](std::string_view line) { return line == kHeader; },
          []() -> std::unique_ptr<RowParser> { return std::make_unique<AzureParser>(); }};
}

}  // namespace kvrm
