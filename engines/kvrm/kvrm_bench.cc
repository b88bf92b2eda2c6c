#include "engines/kvrm/kvrm_bench.h"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engines/kvrm/control_plane_device.h"
#include "engines/kvrm/kvrm_engine.h"
#include "harness/base/check.h"
#include "harness/base/prng.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kBlockTokens = 16;
constexpr std::uint32_t kSteps = 128;  // of a sample: the first ones find the caches cold

struct Design {
  const char* name = "";
  Transport transport = Transport::fused;
  MappingWork mapping = MappingWork::left_out;
};
// With `remap` the page-table work is the transport's way of moving KV, so it is left out as well;
// decode_step_remap_mapped has it.
constexpr Design kDesigns[] = {{.name = "decode_step_fused", .transport = Transport::fused},
                               {.name = "decode_step_full", .transport = Transport::full},
                               {.name = "decode_step_delta", .transport = Transport::delta},
                               {.name = "decode_step_remap", .transport = Transport::remap},
                               {.name = "decode_step_remap_mapped",
                                .transport = Transport::remap,
                                .mapping = MappingWork::real}};

struct Shape {
  std::uint32_t batch = 0;
  std::uint32_t context = 0;  // the longest history; all are within a quarter of it
};

// One layer of one head, so that a block is a page: how many bytes KV has does not matter here.
ModelSpec model_spec(const Shape& shape) {
  ModelSpec spec;
  spec.shape = {.kind = ModelKind::attention_only,
                .layers = 1,
                .query_heads = 1,
                .kv_heads = 1,
                .head_dim = 64,
                .max_len = shape.context,
                .kv_dtype = DType::f16};
  return spec;
}

template <class T>
T made(Result<T> result) {
  KVRM_CHECK_EQ(result ? std::string() : result.error().message, std::string());
  return std::move(*result);
}

// A batch of histories that decodes, in a pool as a long run leaves it: the first histories grew
// beside one another, a block each in turn, so that hardly any two blocks in a row are neighbours.
// Later ones take the blocks of those that ended.
class DecodeSteps {
 public:
  DecodeSteps(const Registry& registry, const Design& design, const Shape& shape)
      : shape_(shape),
        model_(made(DecoderModel::load(model_spec(shape)))),
        device_(make_one_worker(registry), design.mapping),
        engine_(
            made(KvrmEngine::make(engine_spec(design), *model_,
                                  made(select_kernels(device_.info().kernel_target)), device_))),
        random_(1, "kvrm_bench") {
    KVRM_CHECK_EQ(engine_->info().slots, shape.batch);
    for (SlotIndex slot = 0; slot < shape.batch; ++slot) slots_.push_back(slot);
    begin(1);
    while (longest_ < shape.context) step();
  }

  BenchSample measure() {
    if (longest_ + kSteps > shape_.context) begin_anew();
    BenchSample sample{.elapsed = 0, .operations = kSteps};
    for (std::uint32_t i = 0; i < kSteps; ++i) sample.elapsed += step();
    return sample;
  }

 private:
  static std::unique_ptr<Device> make_one_worker(const Registry& registry) {
    const BackendEntry& backend = registry.backends.front();
    return made(backend.make({.kind = backend.kind, .profile = "", .workers = 1}));
  }

  EngineSpec engine_spec(const Design& design) const {
    EngineSpec spec{.kind = "kvrm", .label = "kvrm", .options = {}, .budget = {}};
    spec.options.block_tokens = kBlockTokens;
    spec.options.transport = design.transport;
    const std::uint64_t pool = std::uint64_t{shape_.batch} * shape_.context;
    spec.budget = {.kv_bytes = 2 * pool * model_->shape().kv_bytes_per_token(),
                   .max_batch = shape_.batch,
                   .max_len = shape_.context,
                   .prefill_tokens = kBlockTokens};
    return spec;
  }

  // Histories begin at different places in a block, so that every step allocates for one in
  // sixteen.
  void begin(std::uint32_t shortest) {
    for (SlotIndex slot : slots_) {
      const std::uint32_t tokens = shortest + slot % kBlockTokens;
      KVRM_CHECK(engine_->admit({.slot = slot,
                                 .request = slot,
                                 .content_key = slot,
                                 .token_count = tokens,
                                 .tokens = {}}));
      engine_->prefill({.slot = slot, .first = 0, .count = tokens, .last = true});
    }
    longest_ = shortest + kBlockTokens - 1;
    step();  // which tells the graph every table
  }

  void begin_anew() {
    std::vector<SlotIndex> ending = slots_;
    for (std::size_t i = ending.size(); i > 1; --i) {
      std::swap(ending[i - 1], ending[random_.below(i)]);
    }
    for (const SlotIndex slot : ending) engine_->release(slot);
    begin(shape_.context - shape_.context / 4);
  }

  // What the host spends on a step up to the replay's call.
  Nanoseconds step() {
    const Nanoseconds start = device_.clock().now();
    for (const SlotIndex slot : slots_) KVRM_CHECK(engine_->extend(slot));
    const Nanoseconds extended = device_.clock().now();
    engine_->submit({.step = ++epoch_, .slots = slots_});
    const PhaseTimes phases = engine_->collect().phases;
    ++longest_;
    return extended - start + phases.plan + phases.commit;
  }

  Shape shape_;
  std::unique_ptr<DecoderModel> model_;
  ControlPlaneDevice device_;
  std::unique_ptr<KvrmEngine> engine_;
  RandomStream random_;
  std::vector<SlotIndex> slots_;
  std::uint32_t longest_ = 0;  // positions
  Epoch epoch_ = 0;
};

// Whether each block of each view can be a mapping of its own, with a good deal to spare.
bool can_map(const Shape& shape) {
  constexpr std::uint64_t kMappings = 32768;
  return std::uint64_t{shape.batch} * shape.context / kBlockTokens <= kMappings;
}

BenchCase make_case(const Registry& registry, const Design& design, const Shape& shape) {
  // Made when first measured, so that cases that are not asked for cost nothing.
  auto steps = std::make_shared<std::optional<DecodeSteps>>();
  return {.suite = "kvrm",
          .design = design.name,
          .shape = fmt::format("batch-{}-ctx-{}K", shape.batch, shape.context / 1024),
          .threads = 1,
          .measure = [&registry, design, shape, steps] {
            if (!*steps) steps->emplace(registry, design, shape);
            return (*steps)->measure();
          }};
}

Result<std::vector<BenchCase>> kvrm_cases(const Registry& registry, BenchSize size) {
  if (registry.backends.empty()) return bad_input("suite kvrm: there is no backend");
  const std::vector<Shape> shapes =
      size == BenchSize::tiny
          ? std::vector<Shape>{{16, 1024}}
          : std::vector<Shape>{{16, 4096}, {256, 1024}, {256, 4096}, {256, 32768}};
  std::vector<BenchCase> cases;
  for (const Design& design : kDesigns) {
    for (const Shape& shape : shapes) {
      if (design.mapping == MappingWork::real && !can_map(shape)) continue;
      cases.push_back(make_case(registry, design, shape));
    }
  }
  return cases;
}

}  // namespace

BenchSuite kvrm_suite() {
  return {"kvrm", "host side of a decode step of `kvrm`: append, plan, commit; ns a step",
          kvrm_cases};
}

}  // namespace kvrm
