// Every field of an experiment as text, so that two experiments are equal exactly when their texts
// are. For tests and fuzzers; no part of the library.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>

#include "harness/config/experiment.h"

namespace kvrm {

inline std::string print(const LengthSpec& s) {
  return fmt::format("{} {} {} {} {} {} {} {} {}", static_cast<int>(s.kind), s.value, s.min, s.max,
                     s.mean, s.sigma, s.probabilities, s.values, s.scale);
}

inline std::string print(const EngineSpec& e) {
  const EngineOptions& o = e.options;
  const FarHistoryRule& far = o.far_history;
  return fmt::format(
      "{} {} {} {} {} {} {} {} {} {} {} {} {} {}{}", e.kind, e.label, o.block_tokens,
      static_cast<int>(o.placement), o.watermark, static_cast<int>(o.prefetch),
      static_cast<int>(o.attention), o.batch_buckets, o.length_buckets,
      static_cast<int>(o.transport), o.max_gap_blocks, o.max_group_bytes, static_cast<int>(o.pages),
      o.compaction_bytes_per_step,
      far.enabled ? fmt::format(" far {} {} {}", far.window_tokens, far.sink_tokens, far.summaries)
                  : "");
}

inline std::string print(const ModelSpec& m) {
  const ModelShape& s = m.shape;
  return fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}",
                     static_cast<int>(s.kind), s.layers, s.model_dim, s.hidden_dim, s.query_heads,
                     s.kv_heads, s.head_dim, s.vocabulary, s.max_len, s.rope_theta, s.norm_epsilon,
                     static_cast<int>(s.weight_dtype), static_cast<int>(s.kv_dtype), s.tile_tokens,
                     s.split_tiles, m.checkpoint, m.tokenizer, m.seed);
}

inline std::string print(const WorkloadSpec& w) {
  const ArrivalSpec& a = w.arrivals;
  return fmt::format("{} {} {} {} [{} {} {} {} {} {} {} {}] [{}] [{}] {} {}", w.family, w.seed,
                     w.requests, w.samples, static_cast<int>(a.kind), a.concurrency, a.rate_per_s,
                     a.cv, a.on_s, a.off_s, a.per_minute, a.time_multiplier, print(w.prompt_tokens),
                     print(w.output_tokens), w.trace.path, w.trace.format);
}

inline std::string print(const ExperimentPoint& p) {
  std::string engines;
  for (const EngineSpec& engine : p.engines) engines += "{" + print(engine) + "}";
  return fmt::format(
      "{}\n{}\n{} {} {} {}\n{}\n{}\n{} {} {} {}\n{} {} {} {} {} {}\n{} {} {} {}\n{} {} {} {}\n",
      p.axes, print(p.model), p.backend.kind, p.backend.profile, p.backend.workers,
      p.backend.kernels, print(p.workload), engines, p.budget.kv_bytes, p.budget.max_batch,
      p.budget.max_len, p.budget.prefill_tokens, p.driver.repeats, p.driver.warmup_share,
      p.driver.generator_lag_budget_ms, p.driver.overlap, p.driver.time_limit_s,
      p.driver.max_kv_bytes, p.slo.ttft_ms, p.slo.itl_ms, p.slo.e2e_ms, p.slo.spike_factor,
      static_cast<int>(p.output.requests), static_cast<int>(p.output.steps),
      p.output.point_estimates, p.output.columns);
}

inline std::string print(const Experiment& experiment) {
  std::string text = experiment.name + "\n" + experiment.question + "\n";
  for (const ExperimentPoint& point : experiment.points) text += print(point);
  return text;
}

}  // namespace kvrm
