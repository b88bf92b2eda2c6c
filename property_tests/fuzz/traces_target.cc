#include <fmt/format.h>

#include <vector>

#include "harness/base/check.h"
#include "property_tests/fuzz/fuzz_input.h"
#include "workloads/traces/summary.h"
#include "workloads/traces/trace_reader.h"

namespace kvrm {
namespace {

struct Rows {
  std::vector<TraceRow> rows;
  std::string format;
  std::uint64_t skipped = 0;
};

Result<Rows> read_all(const std::string& file, const std::string& format) {
  Result<std::unique_ptr<TraceReader>> reader = open_trace(file, format);
  if (!reader) return tl::unexpected<Error>(reader.error());
  Rows all;
  for (;;) {
    Result<std::optional<TraceRow>> row = (*reader)->next();
    if (!row) return tl::unexpected<Error>(row.error());
    if (!*row) break;
    all.rows.push_back(std::move(**row));
  }
  all.format = (*reader)->format();
  all.skipped = (*reader)->skipped_rows();
  return all;
}

bool same_rows(const Rows& a, const Rows& b) {
  const auto same = [](const TraceRow& x, const TraceRow& y) {
    return x.arrival == y.arrival && x.prompt_tokens == y.prompt_tokens &&
           x.output_tokens == y.output_tokens && x.prefix_blocks == y.prefix_blocks;
  };
  return a.format == b.format && a.skipped == b.skipped &&
         std::equal(a.rows.begin(), a.rows.end(), b.rows.begin(), b.rows.end(), same);
}

void check_bounds(const Rows& all, std::size_t file_bytes) {
  KVRM_CHECK(!all.rows.empty());
  KVRM_CHECK_LE(2 * (all.rows.size() + all.skipped), file_bytes + 1);
  std::size_t blocks = 0;
  for (std::size_t i = 0; i < all.rows.size(); ++i) {
    const TraceRow& row = all.rows[i];
    KVRM_CHECK(row.prompt_tokens > 0 && row.output_tokens > 0);
    if (i > 0) KVRM_CHECK_LE(all.rows[i - 1].arrival, row.arrival);
    blocks += row.prefix_blocks.size();
  }
  KVRM_CHECK_LE(2 * blocks, file_bytes);  // each a digit and what parts it from the next
}

// The suite's own format holds the same facts, to the nanosecond where seconds are few enough for a
// double. Prefix blocks are not among them.
void check_as_plain(const Rows& all) {
  constexpr Nanoseconds kExact = 4'000'000 * kNanosecondsPerSecond;
  const Nanoseconds first = all.rows.front().arrival;
  if (all.rows.back().arrival - first > kExact) return;
  std::string text = "arrival_s,prompt_tokens,output_tokens\n";
  for (const TraceRow& row : all.rows) {
    const Nanoseconds since = row.arrival - first;
    text += fmt::format("{}.{:09},{},{}\n", since / kNanosecondsPerSecond,
                        since % kNanosecondsPerSecond, row.prompt_tokens, row.output_tokens);
  }
  const MemoryFile file(text);
  const Result<Rows> plain = read_all(file.path(), "auto");
  KVRM_CHECK(plain.has_value());
  Rows expected{all.rows, "plain", 0};
  for (TraceRow& row : expected.rows) {
    row.arrival -= first;
    row.prefix_blocks.clear();
  }
  KVRM_CHECK(same_rows(*plain, expected));
}

void check_summary(const Rows& all, const std::string& file) {
  const Result<TraceSummary> summary = summarise_trace(file, all.format);
  KVRM_CHECK(summary.has_value());
  KVRM_CHECK_EQ(summary->rows, all.rows.size());
  KVRM_CHECK_EQ(summary->skipped_rows, all.skipped);
  KVRM_CHECK(summary->duration_s >= 0 && summary->rate_per_s >= 0);
  for (const auto& [seconds, peak] : summary->peak_arrivals) {
    KVRM_CHECK(peak >= 1 && peak <= all.rows.size());
  }
  const auto& hits = summary->prefix_block_hit_ratio;
  KVRM_CHECK(!hits || (*hits >= 0 && *hits <= 1));
}

}  // namespace

FuzzOutcome fuzz_traces(FuzzBytes input) {
  FuzzReader reader(input);
  std::vector<std::string> formats = trace_format_names();
  formats.insert(formats.begin(), "auto");
  const std::string format = formats[reader.take<std::uint8_t>() % formats.size()];
  const MemoryFile file(as_text(reader.rest()));
  const Result<Rows> all = read_all(file.path(), format);
  if (!all) {
    check_error_place(all.error(), file.path());
    return FuzzOutcome::refused;
  }
  KVRM_CHECK(format == "auto" || format == all->format);
  check_bounds(*all, reader.rest().size());
  const Result<Rows> again = read_all(file.path(), all->format);
  KVRM_CHECK(again && same_rows(*again, *all));
  check_as_plain(*all);
  check_summary(*all, file.path());
  return FuzzOutcome::accepted;
}

}  // namespace kvrm
