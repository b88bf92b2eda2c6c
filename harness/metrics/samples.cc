#include "harness/metrics/samples.h"

#include <limits>

#include "harness/base/mutation.h"

namespace kvrm {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void add(SampleSeries& series, double ms) { series.values.push_back({ms, series.units++}); }

void add_request(const RequestRecord& request, const Window& window, RunSamples& samples) {
  if (request.state == RequestState::refused) return;
  const bool unfinished = request.state == RequestState::in_flight;
  if (request.first_token < 0) {
    KVRM_MUTATE(samples_forget_unanswered, add(samples.ttft, kInfinity), void());
  } else if (window.contains(request.first_token)) {
    add(samples.ttft, to_ms(request.first_token - request.intended_arrival));
  }
  if (unfinished) {
    KVRM_MUTATE(samples_forget_unfinished, add(samples.e2e, kInfinity), void());
    if (request.output_budget > 1) add(samples.tpot, kInfinity);
  } else if (window.contains(request.finished)) {
    add(samples.e2e, to_ms(request.finished - request.intended_arrival));
    if (request.output_tokens > 1) {
      add(samples.tpot,
          to_ms(request.finished - request.first_token) /
              (request.output_tokens - KVRM_MUTATE(samples_tpot_over_all_tokens, 1U, 0U)));
    }
  }
}

void add_gaps(const EventLog& log, const Window& window, SampleSeries& itl) {
  constexpr std::uint32_t kUnseen = std::numeric_limits<std::uint32_t>::max();
  std::vector<std::uint32_t> unit_of_step(log.steps.size() + 1, kUnseen);
  for (const TokenGap& gap : log.gaps) {
    if (!window.contains(gap_end(log, gap))) continue;
    const std::size_t step = gap.step < log.steps.size() ? gap.step : log.steps.size();
    if (KVRM_MUTATE(samples_gaps_are_observations, unit_of_step[step] == kUnseen, true))
      unit_of_step[step] = itl.units++;
    itl.values.push_back({to_ms(gap.gap), unit_of_step[step]});
  }
}

void add_steps(const EventLog& log, const Window& window, SampleSeries& steps) {
  for (std::size_t i = 1; i < log.steps.size(); ++i) {
    if (!window.contains(log.steps[i - KVRM_MUTATE(samples_step_from_warmup, 1U, 0U)].end))
      continue;
    add(steps, to_ms(log.steps[i].end - log.steps[i - 1].end));
  }
}

}  // namespace

double to_ms(Nanoseconds time) {
  return static_cast<double>(time) / static_cast<double>(kNanosecondsPerMillisecond);
}

Nanoseconds gap_end(const EventLog& log, const TokenGap& gap) {
  return gap.step < log.steps.size() ? log.steps[gap.step].end : log.duration;
}

RunSamples collect_samples(const EventLog& log, const Window& window) {
  RunSamples samples;
  for (const RequestRecord& request : log.requests) add_request(request, window, samples);
  add_gaps(log, window, samples.itl);
  add_steps(log, window, samples.step);
  return samples;
}

}  // namespace kvrm
