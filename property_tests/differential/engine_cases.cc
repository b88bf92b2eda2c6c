#include "property_tests/differential/engine_cases.h"

#include <algorithm>
#include <sstream>

#include "harness/driver/drive.h"

namespace kvrm {
namespace {

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : stream_(seed, "engine case") {}
  std::uint32_t between(std::uint32_t low, std::uint32_t high) {
    return low + static_cast<std::uint32_t>(stream_.below(high - low + 1));
  }
  template <class T>
  T one_of(const std::vector<T>& values) {
    return values[stream_.below(values.size())];
  }
  bool chance(double probability) { return stream_.uniform() < probability; }

 private:
  RandomStream stream_;
};

ModelSpec draw_model(Draw& draw) {
  ModelSpec spec;
  ModelShape& shape = spec.shape;
  shape.kind = draw.chance(0.5) ? ModelKind::decoder : ModelKind::attention_only;
  shape.layers = draw.between(1, 2);
  shape.kv_heads = draw.between(1, 2);
  shape.query_heads = shape.kv_heads * draw.between(1, 3);
  shape.head_dim = 8 * draw.between(1, 3);
  shape.max_len = draw.between(40, 200);
  shape.tile_tokens = draw.one_of<std::uint32_t>({16, 32});
  shape.split_tiles = draw.between(1, 4);
  shape.kv_dtype = draw.one_of<DType>({DType::f32, DType::f16, DType::bf16});
  if (shape.kind == ModelKind::decoder) {
    shape.model_dim = 8 * draw.between(2, 5);
    shape.hidden_dim = 8 * draw.between(2, 8);
    shape.vocabulary = draw.between(20, 90);
    shape.weight_dtype = draw.one_of<DType>({DType::f32, DType::bf16});
  }
  spec.seed = draw.between(0, 1000);
  return spec;
}

EngineOptions draw_pooled_options(Draw& draw, std::uint32_t block_tokens) {
  EngineOptions options;
  options.block_tokens = draw.chance(0.25) ? 8 : block_tokens;
  options.placement =
      draw.one_of<Placement>({Placement::lifo, Placement::address_ordered, Placement::extent});
  options.watermark = draw.chance(0.2) ? 0.05 : 0;
  options.prefetch = draw.one_of<Prefetch>({Prefetch::block, Prefetch::run});
  return options;
}

std::vector<std::uint32_t> draw_length_buckets(Draw& draw, std::uint32_t max_len) {
  if (draw.chance(0.5)) return {};
  return {max_len / 3 + 1, max_len / 2 + 1, max_len};
}

EngineOptions draw_kvrm_options(Draw& draw, const ModelShape& shape, std::uint32_t block_tokens,
                                Transport transport) {
  EngineOptions options = draw_pooled_options(draw, block_tokens);
  options.transport = transport;
  options.max_group_bytes = draw.chance(0.5) ? 0 : 4096;
  if (transport == Transport::fused && draw.chance(0.3)) options.max_gap_blocks = 2;
  if (draw.chance(0.4)) {
    options.compaction_bytes_per_step =
        draw.between(1, 4) * options.block_tokens * shape.kv_bytes_per_token();
  }
  return options;
}

// Transport `remap` needs blocks of whole pages in each layer.
bool fits_pages(const ModelShape& shape, std::uint32_t block_tokens) {
  return block_tokens * shape.kv_bytes_per_token() / shape.layers % (4 * kKiB) == 0;
}

std::vector<EngineSpec> draw_engines(Draw& draw, const Budget& budget, const ModelShape& shape,
                                     std::uint32_t block_tokens) {
  std::vector<EngineSpec> engines;
  const auto add = [&](const char* kind, const char* label, EngineOptions options) {
    engines.push_back(
        {.kind = kind, .label = label, .options = std::move(options), .budget = budget});
  };
  EngineOptions full;
  full.block_tokens = block_tokens;
  full.attention = StaticAttention::full;
  full.length_buckets = draw_length_buckets(draw, budget.max_len);
  add("static", "static-full", full);
  EngineOptions early;
  early.block_tokens = block_tokens;
  early.length_buckets = draw_length_buckets(draw, budget.max_len);
  add("static", "static", early);
  add("paged", "paged", draw_pooled_options(draw, block_tokens));
  EngineOptions bucketed = draw_pooled_options(draw, block_tokens);
  bucketed.length_buckets = draw_length_buckets(draw, budget.max_len);
  add("paged_graph", "paged_graph", bucketed);
  EngineOptions single = draw_pooled_options(draw, block_tokens);
  single.batch_buckets = {budget.max_batch};
  add("paged_graph", "paged_graph-single", single);
  add("kvrm", "kvrm", draw_kvrm_options(draw, shape, block_tokens, Transport::fused));
  add("kvrm", "kvrm-full", draw_kvrm_options(draw, shape, block_tokens, Transport::full));
  add("kvrm", "kvrm-delta", draw_kvrm_options(draw, shape, block_tokens, Transport::delta));
  const EngineOptions remap = draw_kvrm_options(draw, shape, block_tokens, Transport::remap);
  if (fits_pages(shape, remap.block_tokens)) add("kvrm", "kvrm-remap", remap);
  return engines;
}

// At least one longest history and, for kvrm's `delta`, the view of one slot beside it; what is
// drawn on top decides how much is preempted.
std::uint64_t draw_kv_bytes(Draw& draw, const ModelShape& shape, std::uint32_t batch,
                            std::uint32_t block_tokens) {
  const std::uint64_t history = round_up(round_up(shape.max_len, block_tokens), shape.tile_tokens);
  const std::uint64_t history_bytes = history * shape.kv_bytes_per_token();
  return 2 * history_bytes + draw.between(0, batch) * history_bytes / 3;
}

std::vector<Request> draw_requests(Draw& draw, const ModelShape& shape) {
  std::vector<Request> requests(draw.between(1, 14));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Request& request = requests[i];
    request.id = i;
    request.content_key = mix64(draw.between(0, 1'000'000));
    const std::uint32_t total = draw.between(2, shape.max_len);
    // Now and then a request sits exactly on a block, tile or chunk border.
    const std::uint32_t border = shape.chunk_tokens() + draw.between(0, 2);
    request.prompt_tokens =
        draw.chance(0.3) && border < total ? border - 1 : draw.between(1, total - 1);
    request.output_tokens = total - request.prompt_tokens + 1;
  }
  return requests;
}

// Some requests become samples of an earlier one's prompt, as workload.samples makes them.
void draw_samples(Draw& draw, const ModelShape& shape, std::vector<Request>& requests) {
  if (draw.chance(0.6)) return;
  for (std::size_t i = 1; i < requests.size(); ++i) {
    const Request& first = requests[draw.between(0, static_cast<std::uint32_t>(i) - 1)];
    if (first.prefix_tokens > 0 || first.prompt_tokens == shape.max_len || draw.chance(0.4)) {
      continue;
    }
    Request& sample = requests[i];
    sample.prefix_key = first.content_key;
    sample.prefix_tokens = first.prompt_tokens;
    sample.prompt_tokens = first.prompt_tokens + 1;
    sample.output_tokens = std::min(sample.output_tokens, shape.max_len + 1 - sample.prompt_tokens);
  }
}

}  // namespace

std::string EngineCase::describe() const {
  std::ostringstream out;
  const ModelShape& shape = model.shape;
  out << (shape.kind == ModelKind::decoder ? "decoder" : "attention_only") << " layers "
      << shape.layers << " heads " << shape.query_heads << "/" << shape.kv_heads << " head_dim "
      << shape.head_dim << " max_len " << shape.max_len << " tile " << shape.tile_tokens
      << " split " << shape.split_tiles << " kv " << dtype_name(shape.kv_dtype) << " weights "
      << dtype_name(shape.weight_dtype) << " batch " << budget.max_batch << " kv_bytes "
      << budget.kv_bytes << " concurrency " << concurrency << " requests";
  for (const Request& request : requests)
    out << " " << request.prefix_tokens << "/" << request.prompt_tokens << "+"
        << request.output_tokens;
  return out.str();
}

EngineCase draw_engine_case(std::uint64_t seed) {
  Draw draw(seed);
  EngineCase setup;
  setup.model = draw_model(draw);
  const ModelShape& shape = setup.model.shape;
  const auto block_tokens = draw.one_of<std::uint32_t>({8, 16, 32, 64});
  setup.budget.max_batch = draw.between(1, 6);
  setup.budget.max_len = shape.max_len;
  setup.budget.prefill_tokens = draw.between(1, 48);
  setup.budget.kv_bytes = draw_kv_bytes(draw, shape, setup.budget.max_batch, block_tokens);
  setup.requests = draw_requests(draw, shape);
  draw_samples(draw, shape, setup.requests);
  setup.concurrency = draw.between(1, 8);
  setup.engines = draw_engines(draw, setup.budget, shape, block_tokens);
  return setup;
}

Result<EngineRun> run_engine_case(const EngineCase& setup, const EngineSpec& spec,
                                  const Registry& registry, const Model& model,
                                  const BackendSpec& backend) {
  Result<std::unique_ptr<Device>> device = registry.backends.front().make(backend);
  if (!device) return tl::unexpected(device.error());
  const auto entry =
      std::find_if(registry.engines.begin(), registry.engines.end(),
                   [&](const EngineEntry& engine) { return engine.kind == spec.kind; });
  Result<std::unique_ptr<Engine>> engine = entry->make(spec, model, **device);
  if (!engine) return tl::unexpected(engine.error());
  EngineRun run;
  run.outputs.resize(setup.requests.size());
  DriveOptions options;
  options.budget = setup.budget;
  options.model_kind = model.shape().kind;
  options.vocabulary = model.shape().vocabulary;
  options.overlap = backend.overlap;
  options.keep_output_tokens = model.shape().kind == ModelKind::decoder;
  options.on_finished = [&](const RequestRecord& record, const OutputSample& sample) {
    run.outputs[record.id] = sample;
  };
  ListStream stream(setup.requests);
  Result<EventLog> log = drive(**engine, stream, {.closed = true, .concurrency = setup.concurrency},
                               options, (*device)->clock());
  if (!log) return tl::unexpected(log.error());
  run.log = std::move(*log);
  return run;
}

}  // namespace kvrm
