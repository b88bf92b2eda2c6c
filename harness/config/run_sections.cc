#include <algorithm>
#include <array>

#include "harness/config/sections.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kMaxBatch = 1U << 16;
constexpr std::uint32_t kMaxLen = 1U << 24;
constexpr std::uint32_t kDefaultPrefillTokens = 512;
constexpr double kMaxMilliseconds = 1e9;
constexpr double kMaxSeconds = 1e6;

Codec<RowDetail> row_detail() {
  return choice<RowDetail>(
      {{"all", RowDetail::all}, {"sampled", RowDetail::sampled}, {"none", RowDetail::none}});
}

KeyInfo simple(std::string name, std::string allowed, std::string meaning, Presence presence) {
  KeyInfo info;
  info.name = std::move(name);
  info.allowed = std::move(allowed);
  info.meaning = std::move(meaning);
  info.presence = presence;
  return info;
}

KeyInfo section_info(std::string name, std::string meaning, const std::vector<KeyInfo>& keys) {
  KeyInfo info = simple(std::move(name), "a map", std::move(meaning), Presence::optional);
  info.nested = keys;
  return info;
}

}  // namespace

Section<BackendSpec> backend_section(const std::vector<std::string>& backend_kinds) {
  Section<BackendSpec> section;
  section.key({"kind", "The backend."}, &BackendSpec::kind, name_choice(backend_kinds))
      .key({"workers", "Threads of the CPU backend; 0: one for each core."}, &BackendSpec::workers,
           integer<std::uint32_t>(0, 1024))
      .key({"kernels", "Kernel target by name, as `kvrm doctor` lists them; `auto`: the best."},
           &BackendSpec::kernels, identifier())
      .key({"profile", "Cost profile of the `modelled` backend; empty elsewhere."},
           &BackendSpec::profile, text());
  return section;
}

Section<Budget> budget_section() {
  Section<Budget> section(Budget{0, 0, 0, kDefaultPrefillTokens});
  section
      .key({"kv_bytes", "KV memory of each engine, everything that counts as reserved.",
            Presence::required},
           &Budget::kv_bytes, byte_size(1))
      .key({"max_batch", "Decode slots.", Presence::required}, &Budget::max_batch,
           integer<std::uint32_t>(1, kMaxBatch))
      .key({"max_len", "Positions of the longest history, prompt and output.", Presence::required},
           &Budget::max_len, integer<std::uint32_t>(2, kMaxLen))
      .key({"prefill_tokens", "Prefill positions between two decode steps."},
           &Budget::prefill_tokens, integer<std::uint32_t>(1, kMaxLen));
  return section;
}

Section<DriverSpec> driver_section() {
  Section<DriverSpec> section;
  section
      .key({"repeats", "Runs of each engine, interleaved and rotated."}, &DriverSpec::repeats,
           integer<std::uint32_t>(1, 1000))
      .key({"warmup", "Share of the requests whose end ends the warm-up."},
           &DriverSpec::warmup_share, warmup_share())
      .key({"generator_lag_budget_ms", "A run whose p99 generator lag is above it is `invalid`."},
           &DriverSpec::generator_lag_budget_ms, number(0.0, kMaxMilliseconds))
      .key({"overlap",
            "Plan the next step while one runs, in every engine; on the cpu backend one worker "
            "fewer."},
           &DriverSpec::overlap, boolean())
      .key({"time_limit_s", "Of each engine and repeat; 0: none."}, &DriverSpec::time_limit_s,
           number(0.0, kMaxSeconds))
      .key({"max_kv_bytes", "Points whose KV budget is larger are skipped and named; 0: none."},
           &DriverSpec::max_kv_bytes, byte_size(0))
      .later({"replicas", ""})
      .later({"routing", ""});
  return section;
}

Section<SloSpec> slo_section() {
  const auto milliseconds = number(0.0, kMaxMilliseconds);
  Section<SloSpec> section;
  section
      .key({"ttft_ms", "Bound on a request's time to first token; 0: none."}, &SloSpec::ttft_ms,
           milliseconds)
      .key({"itl_ms", "Bound on the p99 of a request's inter-token latency; 0: none."},
           &SloSpec::itl_ms, milliseconds)
      .key({"e2e_ms", "Bound on a request's end-to-end latency; 0: none."}, &SloSpec::e2e_ms,
           milliseconds)
      .key({"spike_factor", "A spike is a gap above this many times the reference's median."},
           &SloSpec::spike_factor, number(1.0, 1e6));
  return section;
}

Section<OutputSpec> output_section() {
  Section<OutputSpec> section;
  section.key({"requests", "Rows of requests.csv."}, &OutputSpec::requests, row_detail())
      .key({"steps", "Rows of steps.csv."}, &OutputSpec::steps, row_detail())
      .key({"point_estimates", "Print percentiles that have too few observations for an interval."},
           &OutputSpec::point_estimates, boolean())
      .key({"columns",
            "Metrics of docs/metrics.md, a percentile as `metrics.itl_ms.p99`: one table for the "
            "whole experiment, a row for each point and engine. Empty: a fixed table a point."},
           &OutputSpec::columns, list_of(non_empty_text()));
  return section;
}

bool is_whole_experiment_key(std::string_view name) {
  constexpr std::array<std::string_view, 6> kKeys = {"schema",  "name",  "question",
                                                     "extends", "sweep", "only_engines"};
  return std::ranges::find(kKeys, name) != kKeys.end();
}

std::vector<KeyInfo> experiment_keys(const std::vector<std::string>& engine_kinds,
                                     const std::vector<std::string>& backend_kinds) {
  KeyInfo engines =
      section_info("engines", "The engines that are compared, in the order of the results.",
                   engine_section(engine_kinds).keys());
  engines.allowed = "a list of maps";
  engines.presence = Presence::required;
  engines.is_list = true;
  return {
      simple("schema", std::string(kExperimentSchema), "Version of this format.",
             Presence::required),
      simple("name", identifier().allowed, "Name of the experiment.", Presence::required),
      simple("question", non_empty_text().allowed, "What the experiment is to answer.",
             Presence::required),
      simple("extends", "a file", "Experiment that this one inherits from, relative to this file.",
             Presence::derived),
      section_info("model", "What is decoded.", model_section().keys()),
      section_info("backend", "What it runs on.", backend_section(backend_kinds).keys()),
      section_info("workload", "The requests.", workload_section().keys()),
      std::move(engines),
      simple("only_engines", "a list of kinds and labels of `engines`",
             "The engines that run, as `--engine` names them; absent: all.", Presence::derived),
      section_info("budget", "What every engine may use.", budget_section().keys()),
      section_info("driver", "How it is measured.", driver_section().keys()),
      section_info("slo", "What a good request is.", slo_section().keys()),
      simple("sweep", "a list of {key, values} or {name, cases}",
             "Axes whose product is run, the first slowest.", Presence::derived),
      simple("study", "", "", Presence::later),
      simple("profile", "", "", Presence::later),
      section_info("output", "What is written.", output_section().keys()),
  };
}

}  // namespace kvrm
