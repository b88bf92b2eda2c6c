// Every message about what stands in one file, word for word.
#include <gtest/gtest.h>

#include "harness/config/test_files.h"

namespace kvrm {
namespace {

using ValueErrors = ConfigFiles;

struct Change {
  std::string from;  // text of kSmallExperiment; empty: `to` is added at its end
  std::string to;
  std::string message;  // after "e.yaml:"
};

std::string changed(const Change& change) {
  std::string text = kSmallExperiment;
  if (change.from.empty()) return text + change.to;
  const std::size_t at = text.find(change.from);
  EXPECT_NE(at, std::string::npos) << change.from;
  return text.replace(at, change.from.size(), change.to);
}

// In the order of the file, then what spans the whole.
const std::vector<Change>& changes() {
  static const std::vector<Change> kChanges = {
      {"name: small\n", "",
       "1:1: name: found nothing, allowed: a name of at most 80 letters, digits, '_', '-' and '.'"},
      {"schema: kvrm.experiment/1", "schema: kvrm.experiment/2",
       "1:9: schema: found \"kvrm.experiment/2\", allowed: kvrm.experiment/1"},
      {"name: small", "name: a b",
       "2:7: name: found \"a b\", allowed: a name of at most 80 letters, digits, '_', '-' and '.'"},
      {"question: is it read?", "question: \"\"",
       "3:11: question: found \"\" (in quotes), allowed: text that is not empty"},
      {"", "studdy: 1\n",
       "15:1: studdy: found an unknown key \"studdy\", allowed: schema, name, question, extends, "
       "model, backend, workload, engines, only_engines, budget, driver, slo, sweep, output"},
      {"", "study: {}\n",
       "15:1: study: found \"study\", which this version does not support, allowed: schema, name, "
       "question, extends, model, backend, workload, engines, only_engines, budget, driver, slo, "
       "sweep, output"},
      {"", "profile: {steps: 3}\n",
       "15:1: profile: found \"profile\", which this version does not support, allowed: schema, "
       "name, question, extends, model, backend, workload, engines, only_engines, budget, driver, "
       "slo, sweep, "
       "output"},
      {"", "name: again\n", "15:1: name: found the key a second time, allowed: each key once"},
      {"", "budget2: &a 1\n",
       "15:10: budget2: found an anchor (&), allowed: values written out, or `extends`"},
      {"", "slo: *a\n",
       "15:6: found text that is not YAML (the referenced anchor is not defined), allowed: a YAML "
       "map"},
      {"", "slo: !x {}\n", "15:6: slo: found the tag \"!x\", allowed: values without a tag"},
      {"", "---\nname: b\n", "15:1: found a second YAML document, allowed: one document"},
      {"", "slo: {a: [1\n",
       "16:1: found text that is not YAML (end of sequence flow not found), allowed: a YAML map"},
      {"", "? [a]\n: 1\n", "15:3: found the list [a] as a key, allowed: a name"},
      {"", "slo: 5\n",
       "15:6: slo: found \"5\", allowed: a map of ttft_ms, itl_ms, e2e_ms, spike_factor"},
      {"", "slo:\n",
       "15:1: slo: found nothing, allowed: a map of ttft_ms, itl_ms, e2e_ms, spike_factor"},
      {"requests: 12", "request: 12",
       "8:3: workload.request: found an unknown key \"request\", allowed: family, seed, requests, "
       "samples, arrivals, prompt_tokens, output_tokens, trace; did you mean \"requests\"?"},
      {"  requests: 12", "  requests: 12\n  samples: 0",
       "9:12: workload.samples: found \"0\", allowed: an integer from 1 to 65536"},
      {"requests: 12", "requests: many",
       "8:13: workload.requests: found \"many\", allowed: an integer from 0 to 1000000000"},
      {"requests: 12", "requests: 1.5",
       "8:13: workload.requests: found \"1.5\", allowed: an integer from 0 to 1000000000"},
      {"requests: 12", "requests: \"12\"",
       "8:13: workload.requests: found \"12\" (in quotes), allowed: an integer from 0 to "
       "1000000000"},
      {"requests: 12", "requests: -1",
       "8:13: workload.requests: found \"-1\", allowed: an integer from 0 to 1000000000"},
      {"requests: 12", "requests: 99999999999",
       "8:13: workload.requests: found \"99999999999\", allowed: an integer from 0 to 1000000000"},
      {"requests: 12", "requests: [1]",
       "8:13: workload.requests: found the list [1], allowed: an integer from 0 to 1000000000"},
      {"requests: 12", "requests: {a: 1}",
       "8:13: workload.requests: found the map {a: 1}, allowed: an integer from 0 to 1000000000"},
      {"requests: 12", "requests:",
       "8:3: workload.requests: found nothing, allowed: an integer from 0 to 1000000000"},
      {"requests: 12", "requests: 0",
       "8:13: workload.requests: found 0, allowed: at least 1 where neither a trace nor per_minute "
       "ends the workload"},
      {"min: 2, max: 24", "min: -2, max: 24",
       "9:39: workload.prompt_tokens.min: found \"-2\", allowed: an integer from 1 to 16777216"},
      {"min: 2, max: 24", "min: 25, max: 24",
       "9:48: workload.prompt_tokens.max: found 24, allowed: at least min, 25"},
      {"min: 2, max: 24", "min: 25",
       "9:18: workload.prompt_tokens.max: found 0, allowed: at least min, 25"},
      {"min: 2, max: 24", "min: 60, max: 70",
       "14:50: budget.max_len: found 64, allowed: at least 68, the shortest prompt and output "
       "together, or no request fits"},
      {"{kind: fixed, value: 8}", "{kind: fixed}",
       "10:18: workload.output_tokens.value: found nothing, allowed: an integer from 1 to "
       "16777216"},
      {"{kind: fixed, value: 8}", "{kind: fixd, value: 8}",
       "10:25: workload.output_tokens.kind: found \"fixd\", allowed: fixed, uniform, lognormal, "
       "quantiles, trace; did you mean \"fixed\"?"},
      {"{kind: fixed, value: 8}", "{kind: fixed, value: 8, mean: 3}",
       "10:42: workload.output_tokens.mean: found \"mean\", which kind \"fixed\" does not have "
       "(kinds that have it: lognormal), allowed: kind, value"},
      {"{kind: fixed, value: 8}", "{kind: quantiles, probabilities: [0, 0.5], values: [1, 2]}",
       "10:51: workload.output_tokens.probabilities: found the list [0, 0.5], allowed: at least "
       "two numbers, ascending from 0 to 1"},
      {"{kind: fixed, value: 8}", "{kind: quantiles, probabilities: [0, 1], values: [1]}",
       "10:67: workload.output_tokens.values: found 1 values, allowed: one for each of the 2 "
       "probabilities"},
      {"{kind: fixed, value: 8}", "{kind: quantiles, probabilities: [0, 1], values: [2, 1]}",
       "10:67: workload.output_tokens.values: found values that fall, allowed: values that never "
       "fall"},
      {"{kind: fixed, value: 8}", "{kind: quantiles, probabilities: [0, x], values: [2, 1]}",
       "10:51: workload.output_tokens.probabilities: found the list [0, x], allowed: a list, each "
       "element a number from 0 to 1"},
      {"{kind: fixed, value: 8}", "{kind: trace}",
       "8:3: workload.trace.path: found nothing, allowed: the file of the trace that `kind: trace` "
       "takes rows from"},
      {"  requests: 12", "  requests: 12\n  trace: {path: nowhere.csv}",
       "9:17: workload.trace.path: found \"@FOLDER@/nowhere.csv\", which is no file, allowed: an "
       "existing file"},
      {"  requests: 12", "  requests: 12\n  trace: {path: \"${HOME}/a\"}",
       "9:17: workload.trace.path: found \"${HOME}/a\", allowed: a file name in which only "
       "${KVRM_DATA_DIR} may stand"},
      {"  requests: 12", "  requests: 12\n  trace: {path: taken, format: azur}",
       "9:32: workload.trace.format: found \"azur\", allowed: auto, plain, azure, burstgpt, "
       "mooncake; did you mean \"azure\"?"},
      {"  requests: 12", "  requests: 12\n  arrivals: {kind: poisson}",
       "9:13: workload.arrivals.rate_per_s: found nothing, allowed: a number from 1e-06 to "
       "1000000"},
      {"  requests: 12", "  requests: 12\n  arrivals: {kind: poisson, rate_per_s: .nan}",
       "9:41: workload.arrivals.rate_per_s: found \".nan\", allowed: a number from 1e-06 to "
       "1000000"},
      {"  requests: 12", "  requests: 12\n  arrivals: {kind: closed, rate_per_s: 2}",
       "9:28: workload.arrivals.rate_per_s: found \"rate_per_s\", which kind \"closed\" does not "
       "have (kinds that have it: poisson, gamma, on_off), allowed: kind, concurrency"},
      {"layers: 2, ", "",
       "5:10: model.shape.layers: found nothing, allowed: a positive integer (or model.preset, or "
       "model.checkpoint)"},
      {"query_heads: 4", "query_heads: 3",
       "5:66: model.shape.query_heads: found 3, allowed: a multiple of kv_heads, 2"},
      {"head_dim: 8", "head_dim: 12",
       "5:92: model.shape.head_dim: found 12, allowed: a multiple of 8"},
      {"kv_dtype: f16", "kv_dtype: fp16",
       "6:13: model.kv_dtype: found \"fp16\", allowed: f32, f16, bf16; did you mean \"f16\"?"},
      {"kv_dtype: f16", "tile_tokens: 48",
       "6:16: model.tile_tokens: found 48, allowed: 16, 32 or 64"},
      {"kv_dtype: f16", "checkpoint: nowhere.bin",
       "6:15: model.checkpoint: found \"@FOLDER@/nowhere.bin\", which is no file, allowed: an "
       "existing file"},
      {"kv_dtype: f16", "checkpoint: taken",
       "6:15: model.checkpoint: found a checkpoint beside model.shape or model.preset, allowed: "
       "one of them, because a checkpoint brings its own shape"},
      {"kv_dtype: f16", "preset: llama3-8b",
       "6:11: model.preset: found \"llama3-8b\", allowed: llama-3-8b, or \"\" for none; did you "
       "mean \"llama-3-8b\"?"},
      {"  kv_dtype: f16", "  kind: attention_only\n  checkpoint: taken",
       "7:15: model.checkpoint: found a checkpoint of a model of kind attention_only, allowed: a "
       "checkpoint of a decoder"},
      {"  kv_dtype: f16", "  max_len: 3",
       "6:3: model.max_len: found an unknown key \"max_len\", allowed: preset, kind, checkpoint, "
       "tokenizer, shape, seed, weight_dtype, kv_dtype, tile_tokens, split_tiles"},
      {"64KiB", "64KB",
       "14:20: budget.kv_bytes: found \"64KB\", allowed: a byte size from 1, such as 65536, 64KiB, "
       "64MiB or 1GiB"},
      {"64KiB", "1KiB",
       "14:20: budget.kv_bytes: found 1024 bytes, allowed: at least 8192, one history of 64 "
       "positions at 128 bytes each"},
      {"max_batch: 4", "max_batch: 0",
       "14:38: budget.max_batch: found \"0\", allowed: an integer from 1 to 65536"},
      {"max_batch: 4, ", "",
       "14:9: budget.max_batch: found nothing, allowed: an integer from 1 to 65536"},
      {"", "driver: {repeats: 0}\n",
       "15:19: driver.repeats: found \"0\", allowed: an integer from 1 to 1000"},
      {"", "driver: {warmup: some}\n",
       "15:18: driver.warmup: found \"some\", allowed: none, or {share: S} with S a number from 0 "
       "to 0.9"},
      {"", "driver: {warmup: {share: 2}}\n",
       "15:18: driver.warmup: found the map {share: 2}, allowed: none, or {share: S} with S a "
       "number from 0 to 0.9"},
      {"", "driver: {replicas: 2}\n",
       "15:10: driver.replicas: found \"replicas\", which this version does not support, allowed: "
       "repeats, warmup, generator_lag_budget_ms, overlap, time_limit_s, max_kv_bytes"},
      {"", "driver: {max_kv_bytes: 8GB}\n",
       "15:24: driver.max_kv_bytes: found \"8GB\", allowed: a byte size from 0, such as 65536, "
       "64KiB, 64MiB or 1GiB"},
      {"", "output: {point_estimates: yes}\n",
       "15:27: output.point_estimates: found \"yes\", allowed: true, false"},
      {"", "output: {columns: slots}\n",
       "15:19: output.columns: found \"slots\", allowed: a list, each element text that is not "
       "empty"},
      {"", "output:\n  columns: [slots, metrics.itl_ms]\n",
       "16:20: output.columns.1: found \"metrics.itl_ms\", allowed: a number of docs/metrics.md, a "
       "percentile as NAME.p99; did you mean \"metrics.itl_ms.p50\"?"},
      {"", "output: {columns: [slits]}\n",
       "15:20: output.columns.0: found \"slits\", allowed: a number of docs/metrics.md, a "
       "percentile as NAME.p99; did you mean \"slots\"?"},
      {"", "output: {columns: [nothing at all]}\n",
       "15:20: output.columns.0: found \"nothing at all\", allowed: a number of docs/metrics.md, a "
       "percentile as NAME.p99"},
      {"", "output: {steps: sample}\n",
       "15:17: output.steps: found \"sample\", allowed: all, sampled, none; did you mean "
       "\"sampled\"?"},
      {"", "backend: {kind: cuda}\n",
       "15:17: backend.kind: found \"cuda\", allowed: cpu, modelled"},
      {"", "backend: {profile: h100}\n",
       "15:20: backend.profile: found \"h100\", allowed: none, but for the modelled backend"},
      {"engines:\n  - {kind: static}\n  - {kind: kvrm, label: kvrm-full, options: {transport: "
       "full}}\n",
       "", "1:1: engines: found nothing, allowed: a list of maps"},
      {"engines:\n  - {kind: static}\n  - {kind: kvrm, label: kvrm-full, options: {transport: "
       "full}}\n",
       "engines: []\n",
       "11:10: engines: found an empty list, allowed: a list of {kind, label, options}"},
      {"engines:\n  - {kind: static}\n  - {kind: kvrm, label: kvrm-full, options: {transport: "
       "full}}\n",
       "engines: static\n",
       "11:10: engines: found \"static\", allowed: a list of {kind, label, options}"},
      {"{kind: static}", "static",
       "12:5: engines.0: found \"static\", allowed: a map of kind, label, options"},
      {"{kind: static}", "{label: static}",
       "12:5: engines.0.kind: found nothing, allowed: static, paged, paged_graph, kvrm, null"},
      {"{kind: static}", "{kind: statc}",
       "12:12: engines.0.kind: found \"statc\", allowed: static, paged, paged_graph, kvrm, null; "
       "did you mean \"static\"?"},
      {"{kind: static}", "{kind: kvrm, label: full}",
       "12:25: engines.0.label: found \"full\", allowed: a label that begins with the kind, "
       "\"kvrm\""},
      {"{kind: static}", "{kind: kvrm, label: kvrm-full}",
       "13:5: engines.1.label: found the label \"kvrm-full\" a second time, allowed: a label of "
       "its own for each engine"},
      {"{kind: static}", "{kind: static, options: {block_tokens: 16}}",
       "12:30: engines.0.options.block_tokens: found \"block_tokens\", which kind \"static\" does "
       "not have (kinds that have it: paged, paged_graph, kvrm), allowed: attention, "
       "length_buckets"},
      {"{kind: static}", "{kind: null, options: {attention: full}}",
       "12:28: engines.0.options.attention: found \"attention\", which kind \"null\" does not have "
       "(kinds that have it: static), allowed: no key"},
      {"{kind: static}", "{kind: static, options: {length_buckets: [32, 16]}}",
       "12:46: engines.0.options.length_buckets: found a list that does not rise, allowed: "
       "ascending values"},
      {"{kind: static}", "{kind: static, options: {length_buckets: [65]}}",
       "12:46: engines.0.options.length_buckets: found 65, allowed: at most budget.max_len, 64"},
      {"{kind: static}", "{kind: paged_graph, options: {batch_buckets: [1, 8]}}",
       "12:50: engines.0.options.batch_buckets: found 8, allowed: at most budget.max_batch, 4"},
      {"{kind: static}", "{kind: paged_graph, options: {batch_buckets: all}}",
       "12:50: engines.0.options.batch_buckets: found \"all\", allowed: a list, each element an "
       "integer from 1 to 16777216; or max_batch for that one bucket"},
      {"{kind: static}", "{kind: paged, options: {block_tokens: 24}}",
       "12:43: engines.0.options.block_tokens: found 24, allowed: 8 or a multiple of 16"},
      {"{kind: static}", "{kind: paged, options: {block_tokens: 4}}",
       "12:43: engines.0.options.block_tokens: found \"4\", allowed: an integer from 8 to 1024"},
      {"{kind: static}", "{kind: paged, options: {watermark: 1}}",
       "12:40: engines.0.options.watermark: found \"1\", allowed: a number from 0 to 0.99"},
      {"transport: full", "transport: delta, merge: {max_gap_blocks: 2}",
       "13:88: engines.1.options.merge.max_gap_blocks: found 2, allowed: 0 but for transport "
       "fused: "
       "the blocks of a hole have no place in a contiguous view"},
      {"transport: full", "far_history: {enabled: true, window_tokens: 8}",
       "13:90: engines.1.options.far_history.window_tokens: found 8, allowed: at least "
       "block_tokens, 16"},
      {"transport: full", "far_history: {enabled: true, sink_tokens: 24}",
       "13:88: engines.1.options.far_history.sink_tokens: found 24, allowed: a multiple of "
       "block_tokens, 16"},
      {"transport: full", "far_history: {enabled: true, summaries: 1}",
       "13:86: engines.1.options.far_history.summaries: found 1, allowed: at least 2"},
      {"transport: full", "transport: fusd",
       "13:57: engines.1.options.transport: found \"fusd\", allowed: fused, full, delta, "
       "remap; did you mean \"fused\"?"},
      {"transport: full", "compaction: {bytes_per_step: -1}",
       "13:75: engines.1.options.compaction.bytes_per_step: found \"-1\", allowed: a byte size "
       "from "
       "0, such as 65536, 64KiB, 64MiB or 1GiB"},
      {"transport: full", "merge: {max_gap: 1}",
       "13:54: engines.1.options.merge.max_gap: found an unknown key \"max_gap\", allowed: "
       "max_gap_blocks, max_group_bytes; did you mean \"max_gap_blocks\"?"},
      {"", "sweep: {key: a}\n",
       "15:8: sweep: found the map {key: a}, allowed: a list of {key, values} or {name, cases}"},
      {"", "sweep: [5]\n", "15:9: sweep.0: found \"5\", allowed: a map of name, cases"},
      {"", "sweep: [{key: workload.seed}]\n",
       "15:9: sweep.0.values: found nothing, allowed: a list of values"},
      {"", "sweep: [{key: workload.seed, values: []}]\n",
       "15:38: sweep.0.values: found an empty list, allowed: a list of values"},
      {"", "sweep: [{key: name, values: [a]}]\n",
       "15:15: sweep.0.key: found \"name\", which no sweep can set, allowed: keys of sections, "
       "such as workload.arrivals.rate_per_s"},
      {"", "sweep: [{cases: {a: {}}}]\n",
       "15:9: sweep.0.name: found nothing, allowed: a name of the axis"},
      {"", "sweep: [{name: part, cases: {a: 5}}]\n",
       "15:33: sweep.0.cases.a: found \"5\", allowed: a map of keys of the experiment"},
      {"", "sweep: [{name: part, cases: {a: {sweep: []}}}]\n",
       "15:41: sweep.0.cases.a.sweep: found \"sweep\", which no sweep can set, allowed: keys of "
       "sections, such as workload.arrivals.rate_per_s"},
      {"", "sweep: [{name: [], cases: {a: {}}}]\n",
       "15:16: sweep.0.name: found an empty list, allowed: text that is not empty"},
      {"", "sweep: [{key: workload.seed, values: [1]}, {key: workload.seed, values: [2]}]\n",
       "15:44: sweep.1: found the axis \"workload.seed\" a second time, allowed: each axis once"},
      {"", "sweep: [{key: workload.sed, values: [1]}]\n",
       "15:38: workload.sed: found an unknown key \"sed\", allowed: family, seed, requests, "
       "samples, arrivals, prompt_tokens, output_tokens, trace; did you mean \"seed\"?"},
      {"", "sweep: [{key: name.x, values: [1]}]\n",
       "15:15: sweep.0.key: found \"name\", which no sweep can set, allowed: keys of sections, "
       "such as workload.arrivals.rate_per_s"},
      {"", "sweep: [{key: engines.5.kind, values: [kvrm]}]\n",
       "15:40: engines.5.kind: found \"5\", which names no element of the list, allowed: an index "
       "below 2, static, kvrm-full"},
      {"", "sweep: [{key: budget.max_len.x, values: [1]}]\n",
       "15:42: budget.max_len.x: found \"x\" below a value that is no map, allowed: keys of maps, "
       "indices and labels of lists"},
      {"", "sweep: [{key: workload.seed, valus: [1]}]\n",
       "15:30: sweep.0.valus: found an unknown key \"valus\", allowed: key, values, name; did you "
       "mean \"values\"?"},
      {"", "extends: e.yaml\n",
       "15:10: extends: found \"e.yaml\", which leads back to itself, allowed: a chain of files "
       "without a cycle"},
      {"", "extends: nowhere.yaml\n",
       "15:10: extends: found \"nowhere.yaml\", but nowhere.yaml is no file, allowed: an "
       "experiment file, relative to this one"},
      {"", "extends: [a]\n",
       "15:10: extends: found the list [a], allowed: the name of an experiment file"},
  };
  return kChanges;
}

TEST_F(ValueErrors, OfOneFile) {
  write("taken", "a file");
  for (const Change& change : changes()) {
    SCOPED_TRACE(change.to);
    write("e.yaml", changed(change));
    EXPECT_EQ(message_of(request("e.yaml")), with_folder("e.yaml:" + change.message));
  }
}

}  // namespace
}  // namespace kvrm
