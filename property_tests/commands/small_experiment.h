// A small experiment for tests of the commands: a generated decoder, a few requests, every engine;
// under a second.
#pragma once

#include <string>

namespace kvrm {

inline std::string small_experiment() {
  return R"(schema: kvrm.experiment/1
name: small
question: do the commands work?
model:
  kind: decoder
  shape: {layers: 2, model_dim: 32, hidden_dim: 64, query_heads: 4, kv_heads: 2, head_dim: 8, vocabulary: 64}
  kv_dtype: f16
workload:
  family: mixed-length
  requests: 12
  arrivals: {kind: closed, concurrency: 4}
  prompt_tokens: {kind: uniform, min: 2, max: 24}
  output_tokens: {kind: uniform, min: 4, max: 40}
engines:
  - {kind: static, label: static}
  - {kind: static, label: static-full, options: {attention: full}}
  - {kind: paged}
  - {kind: paged_graph}
  - {kind: kvrm}
  - {kind: kvrm, label: kvrm-full, options: {transport: full}}
budget: {kv_bytes: 64KiB, max_batch: 4, max_len: 64, prefill_tokens: 32}
driver: {repeats: 2, warmup: none}
output: {point_estimates: true}
)";
}

}  // namespace kvrm
