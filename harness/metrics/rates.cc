#include "harness/metrics/rates.h"

#include <algorithm>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "harness/metrics/samples.h"
#include "harness/stats/percentile.h"

namespace kvrm {
namespace {

// Ends of the blocks: the steps of the window in about sqrt(n) groups, the last up to its end.
std::vector<Nanoseconds> block_ends(const EventLog& log, const Window& window) {
  std::vector<Nanoseconds> completions;
  for (const StepRecord& step : log.steps) {
    if (window.contains(step.end)) completions.push_back(step.end);
  }
  const std::size_t blocks = block_count(completions.size());
  std::vector<Nanoseconds> ends;
  for (std::size_t block = 1; block < blocks; ++block) {
    ends.push_back(completions[completions.size() * block / blocks - 1]);
  }
  ends.push_back(window.end);
  return ends;
}

std::vector<BlockSums> empty_blocks(std::span<const Nanoseconds> ends, const Window& window) {
  std::vector<BlockSums> blocks;
  Nanoseconds start = window.start;
  for (const Nanoseconds end : ends) {
    blocks.push_back({0, Window{start, end}.seconds()});
    start = end;
  }
  return blocks;
}

// Counts events into the block in which they happened; those outside the window not at all.
class EventCounter {
 public:
  EventCounter(std::span<const Nanoseconds> ends, const Window& window,
               std::vector<BlockSums>& blocks)
      : ends_(ends), window_(window), blocks_(blocks) {}

  void add(Nanoseconds time) {
    if (!window_.contains(time)) return;
    const auto block = std::lower_bound(ends_.begin(), ends_.end(), time) - ends_.begin();
    blocks_[static_cast<std::size_t>(block)].numerator += 1;
  }

 private:
  std::span<const Nanoseconds> ends_;
  const Window& window_;
  std::vector<BlockSums>& blocks_;
};

std::vector<std::vector<double>> gaps_by_request(const EventLog& log) {
  std::vector<std::vector<double>> gaps(log.requests.size());
  for (const TokenGap& gap : log.gaps) {
    KVRM_CHECK_LT(gap.request, gaps.size());
    gaps[gap.request].push_back(to_ms(gap.gap));
  }
  return gaps;
}

bool within(double ms, double limit_ms) { return limit_ms <= 0 || ms <= limit_ms; }

bool meets_request_slos(const RequestRecord& request, const SloSpec& slo) {
  return within(to_ms(request.first_token - request.intended_arrival), slo.ttft_ms) &&
         within(to_ms(request.finished - KVRM_MUTATE(rates_slo_from_enqueued,
                                                     request.intended_arrival, request.enqueued)),
                slo.e2e_ms);
}

}  // namespace

RunRates collect_rates(const EventLog& log, const Window& window, const SloSpec& slo) {
  const std::vector<Nanoseconds> ends = block_ends(log, window);
  RunRates rates{empty_blocks(ends, window), empty_blocks(ends, window)};
  EventCounter tokens(ends, window, rates.tokens);
  EventCounter good_requests(ends, window, rates.good_requests);
  for (const TokenGap& gap : log.gaps) tokens.add(gap_end(log, gap));
  std::vector<std::vector<double>> gaps;
  if (slo.itl_ms > 0) gaps = gaps_by_request(log);
  for (std::size_t i = 0; i < log.requests.size(); ++i) {
    const RequestRecord& request = log.requests[i];
    if (KVRM_MUTATE(rates_first_tokens_forgotten, request.first_token >= 0, false))
      tokens.add(request.first_token);
    if (request.state != RequestState::finished || !meets_request_slos(request, slo)) continue;
    const bool smooth =
        gaps.empty() || gaps[i].empty() ||
        within(percentile_of(gaps[i], KVRM_MUTATE(rates_itl_unread_by_goodput, 990U, 500U)),
               slo.itl_ms);
    if (smooth) good_requests.add(request.finished);
  }
  return rates;
}

}  // namespace kvrm
