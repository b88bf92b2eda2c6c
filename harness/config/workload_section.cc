#include <limits>

#include "harness/config/sections.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kMaxTokens = 1U << 24;
constexpr std::uint32_t kMaxSamples = 1U << 16;
constexpr double kMaxRate = 1e6;
constexpr double kMaxSeconds = 1e6;
constexpr double kMaxScale = 1e6;
constexpr double kMinPositive = 1e-6;

using Arrivals = ArrivalSpec::Kind;
using Lengths = LengthSpec::Kind;

Section<ArrivalSpec> arrivals_section() {
  Section<ArrivalSpec> section;
  section
      .key({"kind", "`closed`: a new request when one ends; the others: by arrival times."},
           &ArrivalSpec::kind,
           choice<Arrivals>({{"closed", Arrivals::closed},
                             {"poisson", Arrivals::poisson},
                             {"gamma", Arrivals::gamma},
                             {"on_off", Arrivals::on_off},
                             {"per_minute", Arrivals::per_minute},
                             {"trace", Arrivals::trace}}))
      .key({"concurrency",
            "Requests in the system; 0: `budget.max_batch`.",
            Presence::optional,
            {"closed"}},
           &ArrivalSpec::concurrency, integer<std::uint32_t>(0, 1U << 20))
      .key({"rate_per_s",
            "Mean requests a second; for `on_off` over a whole cycle.",
            Presence::required,
            {"poisson", "gamma", "on_off"}},
           &ArrivalSpec::rate_per_s, number(kMinPositive, kMaxRate))
      .key({"cv",
            "Coefficient of variation of the gaps; 1 is Poisson, above it bursty.",
            Presence::required,
            {"gamma"}},
           &ArrivalSpec::cv, number(0.01, 100.0))
      .key({"on_s", "Seconds of each burst, Poisson inside it.", Presence::required, {"on_off"}},
           &ArrivalSpec::on_s, number(kMinPositive, kMaxSeconds))
      .key({"off_s", "Seconds of silence after each burst.", Presence::required, {"on_off"}},
           &ArrivalSpec::off_s, number(0.0, kMaxSeconds))
      .key({"per_minute",
            "Expected arrivals in each minute, Poisson inside it; the workload ends with the last.",
            Presence::required,
            {"per_minute"}},
           &ArrivalSpec::per_minute, list_of(number(0.0, kMaxRate)))
      .key({"time_multiplier",
            "Factor on all arrival times: 0.1 is ten times the load.",
            Presence::optional,
            {"per_minute", "trace"}},
           &ArrivalSpec::time_multiplier, number(kMinPositive, kMaxScale));
  return section;
}

Section<LengthSpec> lengths_section() {
  Section<LengthSpec> section;
  section
      .key({"kind", "How lengths are drawn; `trace` takes each row's."}, &LengthSpec::kind,
           choice<Lengths>({{"fixed", Lengths::fixed},
                            {"uniform", Lengths::uniform},
                            {"lognormal", Lengths::lognormal},
                            {"quantiles", Lengths::quantiles},
                            {"trace", Lengths::trace}}))
      .key({"value", "The length.", Presence::required, {"fixed"}}, &LengthSpec::value,
           integer<std::uint32_t>(1, kMaxTokens))
      .key({"mean", "Mean of the lengths, before the clamp.", Presence::required, {"lognormal"}},
           &LengthSpec::mean, number(1.0, double{kMaxTokens}))
      .key({"sigma",
            "Standard deviation of the logarithm of the lengths.",
            Presence::required,
            {"lognormal"}},
           &LengthSpec::sigma, number(0.0, 10.0))
      .key({"probabilities",
            "Ascending from 0 to 1; lengths are linear in between.",
            Presence::required,
            {"quantiles"}},
           &LengthSpec::probabilities, list_of(number(0.0, 1.0)))
      .key({"values",
            "The length at each probability, never falling.",
            Presence::required,
            {"quantiles"}},
           &LengthSpec::values, list_of(number(0.0, double{kMaxTokens})))
      .key({"scale",
            "Factor on the lengths, at least one token stays.",
            Presence::optional,
            {"quantiles", "trace"}},
           &LengthSpec::scale, number(kMinPositive, kMaxScale))
      .key({"min",
            "Least length, a clamp for `lognormal` and `quantiles`.",
            Presence::optional,
            {"uniform", "lognormal", "quantiles"}},
           &LengthSpec::min, integer<std::uint32_t>(1, kMaxTokens))
      .key({"max",
            "Largest length, a clamp for `lognormal` and `quantiles`; 0: none.",
            Presence::optional,
            {"uniform", "lognormal", "quantiles"}},
           &LengthSpec::max, integer<std::uint32_t>(0, kMaxTokens));
  return section;
}

Section<TraceSpec> trace_section() {
  Section<TraceSpec> section;
  section
      .key({"path", "File of the trace; empty: none. Relative to the file that names it."},
           &TraceSpec::path, text())
      .key({"format", "Reader; `auto` tells by the first line."}, &TraceSpec::format,
           name_choice({"auto", "plain", "azure", "burstgpt", "mooncake"}));
  return section;
}

}  // namespace

Section<WorkloadSpec> workload_section() {
  Section<WorkloadSpec> section;
  section.key({"family", "Name of the workload family, for people."}, &WorkloadSpec::family, text())
      .key({"seed", "Seed of arrivals, lengths and content; 0 is a seed."}, &WorkloadSpec::seed,
           integer<std::uint64_t>(0, std::numeric_limits<std::uint64_t>::max()))
      .key({"requests",
            "Requests to make, every sample counted; 0: all of the trace, or of the minutes."},
           &WorkloadSpec::requests, integer<std::uint64_t>(0, 1'000'000'000))
      .key({"samples",
            "Requests that each drawn one becomes; all after the first have its whole prompt as "
            "shared prefix and one prompt token of their own."},
           &WorkloadSpec::samples, integer<std::uint32_t>(1, kMaxSamples))
      .map({"arrivals", "When requests arrive."}, &WorkloadSpec::arrivals, arrivals_section())
      .map({"prompt_tokens", "Lengths of prompts.", Presence::required},
           &WorkloadSpec::prompt_tokens, lengths_section())
      .map({"output_tokens", "Lengths of outputs.", Presence::required},
           &WorkloadSpec::output_tokens, lengths_section())
      .map({"trace", "The trace behind every `kind: trace`."}, &WorkloadSpec::trace,
           trace_section());
  return section;
}

}  // namespace kvrm
