#include "harness/config/check_point.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "harness/config/diagnose.h"

namespace kvrm {
namespace {

// One check's report: the place is that of the deepest part of the path that was written.
tl::unexpected<Error> refuse(const ConfigNode& tree, const std::string& path,
                             const std::string& found, const std::string& allowed) {
  return config_error(look_up(tree, path).node->place, path, found, allowed);
}

Status check_file(const ConfigNode& tree, const std::string& path, const std::string& file) {
  std::error_code ignored;
  if (file.empty() || std::filesystem::is_regular_file(file, ignored)) return {};
  return refuse(tree, path, fmt::format("\"{}\", which is no file", file), "an existing file");
}

Status check_shape_sizes(const ConfigNode& tree, const ModelShape& shape) {
  struct Size {
    const char* name;
    std::uint32_t value;
    bool decoder_only;
  };
  for (const Size& size :
       {Size{"layers", shape.layers, false}, Size{"query_heads", shape.query_heads, false},
        Size{"kv_heads", shape.kv_heads, false}, Size{"head_dim", shape.head_dim, false},
        Size{"model_dim", shape.model_dim, true}, Size{"hidden_dim", shape.hidden_dim, true},
        Size{"vocabulary", shape.vocabulary, true}}) {
    if (size.value != 0 || (size.decoder_only && shape.kind != ModelKind::decoder)) continue;
    return refuse(tree, fmt::format("model.shape.{}", size.name), "nothing",
                  "a positive integer (or model.preset, or model.checkpoint)");
  }
  if (shape.query_heads % shape.kv_heads != 0) {
    return refuse(tree, "model.shape.query_heads", fmt::format("{}", shape.query_heads),
                  fmt::format("a multiple of kv_heads, {}", shape.kv_heads));
  }
  if (shape.head_dim % 8 != 0) {
    return refuse(tree, "model.shape.head_dim", fmt::format("{}", shape.head_dim),
                  "a multiple of 8");
  }
  return {};
}

Status check_model(const ConfigNode& tree, const ExperimentPoint& point) {
  const ModelSpec& model = point.model;
  if (Status status = check_file(tree, "model.checkpoint", model.checkpoint); !status)
    return status;
  if (Status status = check_file(tree, "model.tokenizer", model.tokenizer); !status) return status;
  if (model.shape.tile_tokens % 16 != 0 || model.shape.tile_tokens == 48) {
    return refuse(tree, "model.tile_tokens", fmt::format("{}", model.shape.tile_tokens),
                  "16, 32 or 64");
  }
  if (model.checkpoint.empty()) return check_shape_sizes(tree, model.shape);
  if (model.shape.kind != ModelKind::decoder) {
    return refuse(tree, "model.checkpoint", "a checkpoint of a model of kind attention_only",
                  "a checkpoint of a decoder");
  }
  if (model.shape.layers != 0 || look_up(tree, "model.shape").complete) {
    return refuse(tree, "model.checkpoint", "a checkpoint beside model.shape or model.preset",
                  "one of them, because a checkpoint brings its own shape");
  }
  return {};
}

Status check_lengths(const ConfigNode& tree, const std::string& path, const LengthSpec& lengths) {
  if (lengths.max != 0 || lengths.kind == LengthSpec::Kind::uniform) {
    if (lengths.min > lengths.max) {
      return refuse(tree, path + ".max", fmt::format("{}", lengths.max),
                    fmt::format("at least min, {}", lengths.min));
    }
  }
  if (lengths.kind != LengthSpec::Kind::quantiles) return {};
  const std::vector<double>& p = lengths.probabilities;
  if (p.size() < 2 || p.front() != 0 || p.back() != 1 ||
      std::ranges::adjacent_find(p, std::greater_equal<>()) != p.end()) {
    return refuse(tree, path + ".probabilities",
                  describe(*look_up(tree, path + ".probabilities").node),
                  "at least two numbers, ascending from 0 to 1");
  }
  if (lengths.values.size() != p.size()) {
    return refuse(tree, path + ".values", fmt::format("{} values", lengths.values.size()),
                  fmt::format("one for each of the {} probabilities", p.size()));
  }
  if (!std::ranges::is_sorted(lengths.values)) {
    return refuse(tree, path + ".values", "values that fall", "values that never fall");
  }
  return {};
}

// No length is below it; a trace's are not known here.
std::uint64_t least_length(const LengthSpec& lengths) {
  switch (lengths.kind) {
    case LengthSpec::Kind::fixed:
      return lengths.value;
    case LengthSpec::Kind::trace:
      return 1;
    default:
      return lengths.min;
  }
}

Status check_workload(const ConfigNode& tree, const ExperimentPoint& point) {
  const WorkloadSpec& workload = point.workload;
  Status status = check_lengths(tree, "workload.prompt_tokens", workload.prompt_tokens);
  if (status) status = check_lengths(tree, "workload.output_tokens", workload.output_tokens);
  if (status) status = check_file(tree, "workload.trace.path", workload.trace.path);
  if (!status) return status;
  const bool has_trace = workload.arrivals.kind == ArrivalSpec::Kind::trace ||
                         workload.prompt_tokens.kind == LengthSpec::Kind::trace ||
                         workload.output_tokens.kind == LengthSpec::Kind::trace;
  if (has_trace && workload.trace.path.empty()) {
    return refuse(tree, "workload.trace.path", "nothing",
                  "the file of the trace that `kind: trace` takes rows from");
  }
  if (workload.requests == 0 && !has_trace &&
      workload.arrivals.kind != ArrivalSpec::Kind::per_minute) {
    return refuse(tree, "workload.requests", "0",
                  "at least 1 where neither a trace nor per_minute ends the workload");
  }
  const std::uint64_t least =
      least_length(workload.prompt_tokens) + least_length(workload.output_tokens);
  if (least > point.budget.max_len) {
    return refuse(
        tree, "budget.max_len", fmt::format("{}", point.budget.max_len),
        fmt::format("at least {}, the shortest prompt and output together, or no request fits",
                    least));
  }
  return {};
}

Status check_buckets(const ConfigNode& tree, const std::string& path,
                     const std::vector<std::uint32_t>& buckets, const char* limit_name,
                     std::uint32_t limit) {
  if (std::ranges::adjacent_find(buckets, std::greater_equal<>()) != buckets.end()) {
    return refuse(tree, path, "a list that does not rise", "ascending values");
  }
  if (!buckets.empty() && buckets.back() > limit) {
    return refuse(tree, path, fmt::format("{}", buckets.back()),
                  fmt::format("at most {}, {}", limit_name, limit));
  }
  return {};
}

Status check_far_history(const ConfigNode& tree, const std::string& path,
                         const EngineOptions& options) {
  const FarHistoryRule& rule = options.far_history;
  if (!rule.enabled) return {};
  if (rule.window_tokens < options.block_tokens) {
    return refuse(tree, path + ".window_tokens", fmt::format("{}", rule.window_tokens),
                  fmt::format("at least block_tokens, {}", options.block_tokens));
  }
  if (rule.sink_tokens % options.block_tokens != 0) {
    return refuse(tree, path + ".sink_tokens", fmt::format("{}", rule.sink_tokens),
                  fmt::format("a multiple of block_tokens, {}", options.block_tokens));
  }
  if (rule.summaries < 2) {
    return refuse(tree, path + ".summaries", fmt::format("{}", rule.summaries), "at least 2");
  }
  return {};
}

// Holes can be read over only where blocks are read in place.
Status check_merge(const ConfigNode& tree, const std::string& path, const EngineOptions& options) {
  if (options.max_gap_blocks == 0 || options.transport == Transport::fused) return {};
  return refuse(tree, path + ".merge.max_gap_blocks", fmt::format("{}", options.max_gap_blocks),
                "0 but for transport fused: the blocks of a hole have no place in a contiguous "
                "view");
}

Status check_engine(const ConfigNode& tree, std::size_t index, const ExperimentPoint& point) {
  const EngineOptions& options = point.engines[index].options;
  const std::string path = fmt::format("engines.{}.options", index);
  const std::uint32_t tile = point.model.shape.tile_tokens;
  if (options.block_tokens != 8 && options.block_tokens % 16 != 0) {
    return refuse(tree, path + ".block_tokens", fmt::format("{}", options.block_tokens),
                  "8 or a multiple of 16");
  }
  if (options.block_tokens % tile != 0 && tile % options.block_tokens != 0) {
    return refuse(tree, path + ".block_tokens", fmt::format("{}", options.block_tokens),
                  fmt::format("a multiple or a divisor of model.tile_tokens, {}", tile));
  }
  Status status = check_buckets(tree, path + ".batch_buckets", options.batch_buckets,
                                "budget.max_batch", point.budget.max_batch);
  if (status)
    status = check_buckets(tree, path + ".length_buckets", options.length_buckets, "budget.max_len",
                           point.budget.max_len);
  if (status) status = check_merge(tree, path, options);
  if (status) status = check_far_history(tree, path + ".far_history", options);
  return status;
}

Status check_budget(const ConfigNode& tree, const ExperimentPoint& point) {
  const std::uint64_t token_bytes = point.model.shape.kv_bytes_per_token();
  const std::uint64_t history_bytes = token_bytes * point.budget.max_len;
  if (point.budget.kv_bytes >= history_bytes)
    return {};  // 0 bytes where a checkpoint has the shape
  return refuse(tree, "budget.kv_bytes", fmt::format("{} bytes", point.budget.kv_bytes),
                fmt::format("at least {}, one history of {} positions at {} bytes each",
                            history_bytes, point.budget.max_len, token_bytes));
}

Status check_backend(const ConfigNode& tree, const ExperimentPoint& point) {
  if (point.backend.profile.empty() || point.backend.kind == "modelled") return {};
  return refuse(tree, "backend.profile", fmt::format("\"{}\"", point.backend.profile),
                "none, but for the modelled backend");
}

}  // namespace

Status check_point(const ConfigNode& tree, const ExperimentPoint& point) {
  Status status = check_model(tree, point);
  if (status) status = check_backend(tree, point);
  if (status) status = check_workload(tree, point);
  for (std::size_t i = 0; status && i < point.engines.size(); ++i)
    status = check_engine(tree, i, point);
  if (status) status = check_budget(tree, point);
  return status;
}

}  // namespace kvrm
