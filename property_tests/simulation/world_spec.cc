#include "property_tests/simulation/world_spec.h"

#include <fmt/format.h>

#include <algorithm>

#include "engines/history/far_history.h"
#include "harness/base/units.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm::simulation {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::uint32_t kCrowdedOneIn = 16;
constexpr std::uint32_t kCrowdedBlock = 8;

ModelSpec draw_model(Draw& draw, bool decoder) {
  ModelSpec spec;
  ModelShape& shape = spec.shape;
  shape.kind = decoder ? ModelKind::decoder : ModelKind::attention_only;
  shape.layers = draw.one_in(4) ? 2 : 1;
  shape.kv_heads = draw.one_in(4) ? 2 : 1;
  shape.query_heads = shape.kv_heads * (draw.one_in(3) ? 2 : 1);
  shape.head_dim = draw.one_of<std::uint32_t>({8, 8, 8, 16, 24});
  shape.max_len = draw.between(20, 150);
  shape.tile_tokens = draw.one_of<std::uint32_t>({16, 16, 32, 48});
  shape.split_tiles = draw.between(1, 4);
  shape.kv_dtype = draw.one_of<DType>({DType::f32, DType::f16, DType::bf16});
  if (decoder) {
    shape.model_dim = 8 * draw.between(2, 3);
    shape.hidden_dim = 8 * draw.between(2, 4);
    shape.vocabulary = draw.between(20, 60);
    shape.weight_dtype = draw.one_in(2) ? DType::f32 : DType::bf16;
  }
  spec.seed = draw.between(0, 1000);
  return spec;
}

std::uint32_t draw_block_tokens(Draw& draw, std::uint32_t tile_tokens) {
  std::vector<std::uint32_t> fitting;
  for (const std::uint32_t block : {8U, 16U, 32U, 48U, 64U, 96U}) {
    if (block % tile_tokens == 0 || tile_tokens % block == 0) fitting.push_back(block);
  }
  return draw.one_of(fitting);
}

EngineOptions draw_options(Draw& draw, const ModelShape& shape, bool same_block,
                           std::uint32_t block_tokens) {
  EngineOptions options;
  options.block_tokens = same_block ? block_tokens : draw_block_tokens(draw, shape.tile_tokens);
  options.placement =
      draw.one_of<Placement>({Placement::lifo, Placement::address_ordered, Placement::extent});
  options.watermark = draw.chance(0.2) ? 0.1 : 0;
  options.prefetch = draw.one_of<Prefetch>({Prefetch::block, Prefetch::run});
  options.pages = PoolPages::base;
  return options;
}

std::vector<std::uint32_t> draw_length_buckets(Draw& draw, std::uint32_t max_len) {
  if (draw.one_in(2)) return {};
  return {max_len / 3 + 1, max_len / 2 + 1, max_len};
}

// The least that holds one longest history, and on top of it what is drawn: how scarce blocks are.
// A view comes beside it.
std::uint64_t draw_kv_bytes(Draw& draw, const WorldSpec& world, const EngineOptions& options,
                            bool viewed) {
  const ModelShape& shape = world.model.shape;
  const std::uint32_t block = options.block_tokens;
  const std::uint64_t block_bytes = block * shape.kv_bytes_per_token();
  const std::uint64_t longest = divide_up(shape.max_len, block);
  std::uint64_t least = longest;
  if (options.far_history.enabled) {
    FarHistoryRule rule = options.far_history;
    rule.block_tokens = block;
    least = std::max<std::uint64_t>(least, far_blocks_needed(rule, shape.max_len, 0).total());
  }
  const auto more = static_cast<std::uint32_t>((world.slots - 1) * least);
  std::uint64_t bytes = (least + draw.between(0, draw.one_in(3) ? more : more / 3)) * block_bytes;
  if (viewed) {
    const std::uint64_t layers = options.transport == Transport::full ? shape.layers : 1;
    const std::uint64_t view = world.slots * longest * block_bytes / layers;
    bytes = std::max(2 * view, view + bytes);
  }
  // Room for all of them at once, and for their views.
  return world.crowded ? 2 * world.slots * longest * block_bytes : bytes;
}

// As a block of whole pages wants it.
bool fits_pages(const ModelShape& shape, std::uint32_t block_tokens) {
  return block_tokens * shape.kv_bytes_per_token() / shape.layers % kPageBytes == 0;
}

class EnginesDraw {
 public:
  EnginesDraw(Draw& draw, WorldSpec& world, std::uint32_t block_tokens)
      : draw_(draw), world_(world), block_tokens_(block_tokens) {}

  void add_kvrm() {
    const char* labels[] = {"kvrm-fused", "kvrm-full", "kvrm-delta", "kvrm-remap"};
    const std::uint32_t first = draw_.between(0, 3);
    for (std::uint32_t i = 0; i < 4; ++i) {
      const auto transport = static_cast<Transport>((first + i) % 4);
      if (i == 0 || draw_.chance(0.3)) add_kvrm(labels[(first + i) % 4], transport);
    }
    if (world_.engines.empty()) add_kvrm("kvrm-fused", Transport::fused);
  }

  void add_others() {
    const ModelShape& shape = world_.model.shape;
    if (draw_.chance(0.25)) add("paged", "paged", options());
    if (draw_.chance(0.25)) {
      EngineOptions bucketed = options();
      bucketed.length_buckets = draw_length_buckets(draw_, shape.max_len);
      if (draw_.one_in(2)) bucketed.batch_buckets = {world_.slots};
      add("paged_graph", "paged_graph", bucketed);
    }
    if (draw_.chance(0.25)) {
      EngineOptions fixed;
      fixed.block_tokens = block_tokens_;
      fixed.attention = draw_.one_in(2) ? StaticAttention::full : StaticAttention::early_exit;
      fixed.length_buckets = draw_length_buckets(draw_, shape.max_len);
      add("static", "static", fixed);
      const std::uint64_t longest =
          round_up(round_up(shape.max_len, fixed.block_tokens), shape.tile_tokens) +
          fixed.block_tokens;
      world_.engines.back().budget.kv_bytes = world_.slots * longest * shape.kv_bytes_per_token();
    }
  }

 private:
  EngineOptions options() {
    return draw_options(draw_, world_.model.shape, draw_.chance(0.6), block_tokens_);
  }

  void add_kvrm(const char* label, Transport transport) {
    const ModelShape& shape = world_.model.shape;
    EngineOptions with = world_.far_history.enabled
                             ? draw_options(draw_, shape, true, world_.far_history.block_tokens)
                             : options();
    if (world_.crowded) with.block_tokens = kCrowdedBlock;
    if (transport == Transport::remap && !fits_pages(shape, with.block_tokens)) return;
    with.transport = transport;
    with.far_history = world_.far_history;
    with.max_group_bytes = draw_.one_in(2) ? 0 : draw_.between(1, 4) * 2048;
    if (world_.crowded) with.max_group_bytes = 1;
    if (transport == Transport::fused && draw_.chance(0.3)) with.max_gap_blocks = 2;
    if (draw_.chance(0.4)) {
      with.compaction_bytes_per_step =
          draw_.between(1, 4) * with.block_tokens * shape.kv_bytes_per_token();
    }
    add("kvrm", label, with);
  }

  void add(const char* kind, const char* label, EngineOptions options) {
    const bool viewed =
        options.transport == Transport::full || options.transport == Transport::delta;
    const Budget budget{.kv_bytes = draw_kv_bytes(draw_, world_, options, viewed),
                        .max_batch = world_.slots,
                        .max_len = world_.model.shape.max_len,
                        .prefill_tokens = world_.prefill_tokens};
    world_.engines.push_back(
        {.kind = kind, .label = label, .options = std::move(options), .budget = budget});
  }

  Draw& draw_;
  WorldSpec& world_;
  std::uint32_t block_tokens_;
};

// Only rules that the engines take: blocks that divide tiles, histories that get shorter.
FarHistoryRule draw_far_history(Draw& draw, ModelSpec& model) {
  ModelShape& shape = model.shape;
  FarHistoryRule rule{.enabled = true,
                      .block_tokens = draw.one_in(2) || shape.tile_tokens % 16 != 0 ? 8U : 16U};
  rule.sink_tokens = rule.block_tokens * draw.between(0, 2);
  rule.window_tokens = rule.block_tokens + draw.between(0, 30);
  rule.summaries = draw.between(2, 6);
  shape.max_len = std::max(shape.max_len, 100U);
  const std::uint64_t longest = far_length_max(rule, shape.tile_tokens, shape.max_len);
  if (round_up(longest, rule.block_tokens) > round_up(shape.max_len, rule.block_tokens)) return {};
  return rule;
}

// From a stream of its own, so that it moves no other draw.
void draw_crowd(WorldSpec& world) {
  Draw draw(world.seed, "crowd");
  ModelShape& shape = world.model.shape;
  if (shape.kind == ModelKind::decoder || !draw.one_in(kCrowdedOneIn)) return;
  world.crowded = true;
  world.slots = 16;
  world.far_history = {};
  shape.max_len = draw.between(2 * kCrowdedBlock + 2, 3 * kCrowdedBlock);
  shape.tile_tokens = 2 * kCrowdedBlock;
  shape.split_tiles = 1;
}

void draw_workload(Draw& draw, WorldSpec& world) {
  const ModelShape& shape = world.model.shape;
  world.prompt_max = draw.one_in(2) ? shape.max_len / 4 : shape.max_len - 1;
  world.pause_one_in = draw.one_in(2) ? 0 : draw.between(4, 32);
  world.oracle_one_in = shape.kind == ModelKind::decoder ? 96 : 128;
  world.overlap = draw.one_in(2);
  world.commands = shape.kind == ModelKind::decoder ? 600 : 3000;
  const bool forks = !world.far_history.enabled && draw.one_in(2);
  world.weights = {draw.between(4, 12),
                   draw.between(4, 16),
                   100,
                   draw.one_in(3) ? 0 : draw.between(1, 6),
                   forks ? draw.between(1, 12) : 0,
                   draw.between(1, 3),
                   0};
  if (!world.crowded) return;
  world.commands = 300;
  world.weights.back() = 12;
}

void draw_faults(Draw& draw, WorldSpec& world) {
  world.fault_rate = draw.one_of<double>({0.02, 0.05, 0.1, 0.3});
  for (std::size_t i = 0; i < kFaults; ++i) {
    if (draw.chance(0.6)) world.faults.push_back(static_cast<Fault>(i));
  }
}

std::string_view name_of(Placement placement) {
  return placement == Placement::lifo              ? "lifo"
         : placement == Placement::address_ordered ? "address_ordered"
                                                   : "extent";
}

}  // namespace

WorldSpec draw_world(std::uint64_t seed) {
  Draw draw(seed, "world");
  WorldSpec world;
  world.seed = seed;
  world.model = draw_model(draw, draw.one_in(16));
  world.kernels = draw.one_of(available_kernel_targets());
  if (world.model.shape.kind == ModelKind::decoder) world.kernels = "auto";
  world.slots = draw.between(1, 10);
  world.prefill_tokens = draw.between(1, 48);
  if (draw.chance(0.25)) world.far_history = draw_far_history(draw, world.model);
  draw_crowd(world);
  draw_workload(draw, world);
  EnginesDraw engines(draw, world, draw_block_tokens(draw, world.model.shape.tile_tokens));
  engines.add_kvrm();
  if (!world.far_history.enabled) engines.add_others();
  draw_faults(draw, world);
  return world;
}

WorldSpec draw_world(const WorldPart& part) {
  WorldSpec world = draw_world(part.world);
  const auto leaves_out = [&](std::string_view name) {
    return part.without.contains(std::string(name));
  };
  const auto weight = [&](Command command) -> std::uint32_t& {
    return world.weights[static_cast<std::size_t>(command)];
  };
  if (leaves_out("forks")) weight(Command::fork) = 0;
  if (leaves_out("leaving")) weight(Command::leave) = 0;
  if (leaves_out("exhaust")) weight(Command::exhaust) = 0;
  if (leaves_out("replacing")) weight(Command::replace) = 0;
  if (leaves_out("overlap")) world.overlap = false;
  if (leaves_out("pauses")) world.pause_one_in = 0;
  std::erase_if(world.engines, [&](const EngineSpec& spec) { return leaves_out(spec.label); });
  std::erase_if(world.faults, [&](Fault fault) { return leaves_out(fault_name(fault)); });
  if (part.commands > 0) {
    world.commands =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(world.commands, part.commands));
  }
  return world;
}

std::string WorldSpec::describe() const {
  const ModelShape& shape = model.shape;
  std::string text = fmt::format(
      "{}, layers {}, heads {}/{} of {}, max_len {}, tile {} split {}, kv {}, kernels {}, slots "
      "{}, "
      "prompts to {}, prefill {}, overlap {}, far history {}, fault rate {}; engines",
      shape.kind == ModelKind::decoder ? "decoder" : "attention_only", shape.layers,
      shape.query_heads, shape.kv_heads, shape.head_dim, shape.max_len, shape.tile_tokens,
      shape.split_tiles, dtype_name(shape.kv_dtype), kernels, slots, prompt_max, prefill_tokens,
      overlap ? "on" : "off",
      far_history.enabled ? fmt::format("sinks {} window {} summaries {}", far_history.sink_tokens,
                                        far_history.window_tokens, far_history.summaries)
                          : "off",
      fault_rate);
  for (const EngineSpec& engine : engines) {
    text += fmt::format(" {} (block {}, {}, {} bytes, cap {}, gap {}, compaction {})", engine.label,
                        engine.options.block_tokens, name_of(engine.options.placement),
                        engine.budget.kv_bytes, engine.options.max_group_bytes,
                        engine.options.max_gap_blocks, engine.options.compaction_bytes_per_step);
  }
  text += "; faults";
  for (const Fault fault : faults) text += fmt::format(" {}", fault_name(fault));
  return text;
}

std::vector<std::string> all_part_names() {
  std::vector<std::string> names{
      "forks", "overlap",     "pauses",     "leaving",   "exhaust",    "replacing", "static",
      "paged", "paged_graph", "kvrm-fused", "kvrm-full", "kvrm-delta", "kvrm-remap"};
  names.insert(names.end(), kFaultNames.begin(), kFaultNames.end());
  return names;
}

bool WorldPart::skips(std::uint64_t command) const {
  return std::ranges::any_of(skipped, [&](const auto& range) {
    return range.first <= command && command <= range.second;
  });
}

std::string WorldPart::arguments() const {
  std::string text = fmt::format("--world {:#x}", world);
  if (commands > 0) text += fmt::format(" --commands {}", commands);
  for (std::size_t i = 0; i < skipped.size(); ++i) {
    text += i == 0 ? " --skip " : ",";
    text += fmt::format("{}-{}", skipped[i].first, skipped[i].second);
  }
  bool first = true;
  for (const std::string& name : without) {
    text += (first ? " --without " : ",") + name;
    first = false;
  }
  if (canary == Canary::lost_copy) text += " --canary lost_copy";
  if (canary == Canary::image_bit) text += " --canary image_bit";
  return text;
}

}  // namespace kvrm::simulation
