#include "workloads/traces/summary.h"

#include <algorithm>
#include <array>
#include <deque>
#include <unordered_set>

#include "harness/base/units.h"
#include "workloads/traces/trace_reader.h"

namespace kvrm {
namespace {

constexpr std::array<std::uint32_t, 3> kWindowsS = {1, 10, 60};
constexpr std::array<std::uint32_t, 6> kPercentiles = {0, 50, 90, 95, 99, 100};

// Exact nearest-rank quantiles from a count of each value.
class LengthTally {
 public:
  void add(std::uint32_t length) {
    ++counts_[length];
    ++total_;
    sum_ += length;
  }
  double mean() const { return static_cast<double>(sum_) / static_cast<double>(total_); }
  std::map<std::string, std::uint64_t> quantiles() const {
    std::map<std::string, std::uint64_t> found;
    for (const std::uint32_t percentile : kPercentiles) {
      found["p" + std::to_string(percentile)] =
          at_rank(std::max<std::uint64_t>(1, divide_up(total_ * percentile, 100)));
    }
    return found;
  }

 private:
  std::uint64_t at_rank(std::uint64_t rank) const {
    std::uint64_t seen = 0;
    for (const auto& [length, count] : counts_) {
      seen += count;
      if (seen >= rank) return length;
    }
    return counts_.rbegin()->first;
  }

  std::map<std::uint32_t, std::uint64_t> counts_;
  std::uint64_t total_ = 0;
  std::uint64_t sum_ = 0;
};

// Arrivals of one window length: the busiest window anywhere, and the spread of the whole windows
// laid end to end from the first arrival.
class WindowTally {
 public:
  explicit WindowTally(std::uint32_t seconds) : length_(seconds * kNanosecondsPerSecond) {}

  void add(Nanoseconds since_first) {
    recent_.push_back(since_first);
    while (recent_.front() <= since_first - length_) recent_.pop_front();
    peak_ = std::max<std::uint64_t>(peak_, recent_.size());
    const std::int64_t window = since_first / length_;
    if (window > whole_windows_) close_window();
    whole_windows_ = window;  // those in between had no arrivals and add nothing to the sums
    ++in_window_;
  }
  std::uint64_t peak() const { return peak_; }
  // Sample variance over mean; 0 with fewer than two whole windows.
  double dispersion() const {
    if (whole_windows_ < 2 || sum_ == 0) return 0;
    const auto n = static_cast<double>(whole_windows_);
    const double mean = sum_ / n;
    return (sum_of_squares_ - n * mean * mean) / (n - 1) / mean;
  }

 private:
  void close_window() {
    const auto count = static_cast<double>(in_window_);
    sum_ += count;
    sum_of_squares_ += count * count;
    in_window_ = 0;
  }

  Nanoseconds length_;
  std::deque<Nanoseconds> recent_;
  std::uint64_t peak_ = 0;
  std::int64_t whole_windows_ = 0;
  std::uint64_t in_window_ = 0;
  double sum_ = 0;
  double sum_of_squares_ = 0;
};

// Leading blocks of each prompt that some earlier prompt had, as an infinite cache would hit them.
class PrefixTally {
 public:
  void add(const std::vector<std::uint64_t>& blocks) {
    bool prefix = true;
    for (const std::uint64_t block : blocks) {
      prefix = prefix && seen_.contains(block);
      hits_ += prefix ? 1 : 0;
    }
    seen_.insert(blocks.begin(), blocks.end());
    total_ += blocks.size();
  }
  std::optional<double> hit_ratio() const {
    if (total_ == 0) return std::nullopt;
    return static_cast<double>(hits_) / static_cast<double>(total_);
  }

 private:
  std::unordered_set<std::uint64_t> seen_;
  std::uint64_t hits_ = 0;
  std::uint64_t total_ = 0;
};

class TraceTally {
 public:
  void add(const TraceRow& row) {
    if (rows_ == 0) first_arrival_ = row.arrival;
    last_arrival_ = row.arrival;
    ++rows_;
    prompt_.add(row.prompt_tokens);
    output_.add(row.output_tokens);
    for (WindowTally& window : windows_) window.add(row.arrival - first_arrival_);
    prefix_.add(row.prefix_blocks);
  }

  TraceSummary summary(const TraceReader& reader) const {
    TraceSummary summary;
    summary.format = reader.format();
    summary.rows = rows_;
    summary.skipped_rows = reader.skipped_rows();
    summary.duration_s = static_cast<double>(last_arrival_ - first_arrival_) / 1e9;
    summary.prompt_tokens = prompt_.quantiles();
    summary.output_tokens = output_.quantiles();
    summary.prompt_mean = prompt_.mean();
    summary.output_mean = output_.mean();
    if (summary.duration_s > 0)
      summary.rate_per_s = static_cast<double>(rows_) / summary.duration_s;
    for (std::size_t i = 0; i < kWindowsS.size(); ++i) {
      summary.peak_arrivals[kWindowsS[i]] = windows_[i].peak();
      summary.dispersion[kWindowsS[i]] = windows_[i].dispersion();
    }
    summary.prefix_block_hit_ratio = prefix_.hit_ratio();
    return summary;
  }

 private:
  std::uint64_t rows_ = 0;
  Nanoseconds first_arrival_ = 0;
  Nanoseconds last_arrival_ = 0;
  LengthTally prompt_;
  LengthTally output_;
  std::array<WindowTally, 3> windows_ = {WindowTally(kWindowsS[0]), WindowTally(kWindowsS[1]),
                                         WindowTally(kWindowsS[2])};
  PrefixTally prefix_;
};

}  // namespace

Result<TraceSummary> summarise_trace(const std::string& file, const std::string& format) {
  Result<std::unique_ptr<TraceReader>> reader = open_trace(file, format);
  if (!reader) return tl::unexpected<Error>(reader.error());
  TraceTally tally;
  for (;;) {
    Result<std::optional<TraceRow>> row = (*reader)->next();
    if (!row) return tl::unexpected<Error>(row.error());
    if (!*row) return tally.summary(**reader);
    tally.add(**row);
  }
}

}  // namespace kvrm
