#include "property_tests/fuzz/logged_run.h"

#include <array>
#include <utility>

#include "engines/kvrm/kvrm_engine.h"
#include "harness/base/check.h"
#include "harness/device/cpu_device.h"
#include "property_tests/fuzz/heap_device.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kSlots = 3;
constexpr std::uint32_t kMaxLen = 96;
constexpr std::uint32_t kVocabulary = 32;
constexpr std::uint32_t kMostCalls = 24;
constexpr std::uint32_t kLongestPrompt = 40;
constexpr std::uint64_t kPoolBlocks = 14;
constexpr std::uint32_t kBlockTokens = 8;

template <class T>
T made(Result<T> result) {
  KVRM_CHECK_EQ(result ? std::string() : result.error().message, std::string());
  return std::move(*result);
}

std::unique_ptr<DecoderModel> small_model(ModelKind kind) {
  ModelSpec spec;
  spec.shape = {.kind = kind,
                .layers = 2,
                .model_dim = 16,
                .hidden_dim = 16,
                .query_heads = 2,
                .kv_heads = 1,
                .head_dim = 8,
                .vocabulary = kVocabulary,
                .max_len = kMaxLen,
                .tile_tokens = 16,
                .split_tiles = 2};
  return made(DecoderModel::load(spec));
}

ReplayWorld make_world() {
  return {.attention = small_model(ModelKind::attention_only),
          .decoder = small_model(ModelKind::decoder),
          .device = std::make_unique<HeapDevice>(
              made(make_cpu_device({.workers = 1, .kernel_target = "reference"}))),
          .kernels = made(select_kernels("reference"))};
}

EngineSpec take_spec(FuzzReader& reader, const ModelShape& shape, const std::string& log) {
  const auto choice = reader.take<std::uint8_t>();
  EngineSpec spec{.kind = "kvrm", .label = "kvrm", .options = {}, .budget = {}};
  constexpr std::array kTransports = {Transport::fused, Transport::full, Transport::delta};
  spec.options.transport = kTransports[choice % kTransports.size()];
  spec.options.block_tokens = kBlockTokens;
  spec.options.placement = static_cast<Placement>(choice / 4 % 3);
  spec.options.far_history = {.enabled = (choice & 64) != 0,
                              .block_tokens = kBlockTokens,
                              .window_tokens = 16,
                              .sink_tokens = 8,
                              .summaries = 2};
  spec.options.compaction_bytes_per_step = (choice & 128) != 0 ? 4096 : 0;
  const std::uint64_t view = spec.options.transport == Transport::fused ? 0 : kSlots * kMaxLen;
  const std::uint64_t positions = kPoolBlocks * kBlockTokens + view;
  spec.budget = {.kv_bytes = positions * shape.kv_bytes_per_token(),
                 .max_batch = kSlots,
                 .max_len = kMaxLen,
                 .prefill_tokens = 16};
  spec.descriptor_log.file = log;
  return spec;
}

// Calls as a driver makes them, each argument from the input.
class Calls {
 public:
  Calls(KvrmEngine& engine, FuzzReader& reader, LoggedRun& run)
      : engine_(engine), reader_(reader), run_(run), slots_(engine.info().slots) {}

  void make_one() {
    const auto draw = reader_.take<std::uint8_t>();
    const SlotIndex slot = draw / 8 % static_cast<SlotIndex>(slots_.size());
    const std::uint32_t action = draw % 8;
    if (action < 2 && !slots_[slot].used) return admit(slot, reader_.take<std::uint8_t>());
    if (action == 2 && !slots_[slot].used) return fork(slot, reader_.take<std::uint8_t>());
    if (action == 3) return release(slot);
    step(draw / 8);
  }

 private:
  struct Slot {
    bool used = false;
    RequestId request = 0;
    std::uint32_t length = 0;
    std::uint64_t key = 0;
    std::vector<TokenId> tokens;
  };

  bool has_tokens() const { return run_.model->shape().kind == ModelKind::decoder; }

  void start(SlotIndex slot, Admission admission, std::vector<TokenId> tokens) {
    admission.slot = slot;
    admission.request = next_request_;
    admission.tokens = tokens;
    if (!engine_.admit(admission)) return;
    const std::uint32_t shared = admission.fork_from ? admission.token_count - 1 : 0;
    slots_[slot] = {true, next_request_++, shared, admission.content_key, std::move(tokens)};
    if (!admission.fork_from) prefill(slot, admission.token_count);
  }

  void admit(SlotIndex slot, std::uint8_t draw) {
    const std::uint32_t most = std::min(kLongestPrompt, engine_.info().max_history_tokens);
    const std::uint32_t count = 1 + draw % most;
    std::vector<TokenId> tokens;
    for (std::uint32_t i = 0; has_tokens() && i < count; ++i) {
      tokens.push_back((draw + i) % kVocabulary);
    }
    start(slot, {.content_key = draw, .token_count = count}, std::move(tokens));
  }

  // The parent's known tokens again, as far as it has them.
  void fork(SlotIndex slot, std::uint8_t draw) {
    const SlotIndex parent = draw % static_cast<SlotIndex>(slots_.size());
    const Slot& source = slots_[parent];
    const std::uint32_t known =
        has_tokens() ? static_cast<std::uint32_t>(source.tokens.size()) : source.length;
    if (!engine_.info().can_fork || !source.used || std::min(known, source.length) < 2) return;
    const std::uint32_t count = std::min(known, source.length);
    std::vector<TokenId> tokens = source.tokens;
    tokens.resize(has_tokens() ? count : 0);
    start(slot, {.content_key = source.key, .token_count = count, .fork_from = parent},
          std::move(tokens));
  }

  void prefill(SlotIndex slot, std::uint32_t total) {
    for (std::uint32_t first = 0; first < total; first += 16) {
      const std::uint32_t count = std::min(16U, total - first);
      take(engine_.prefill({slot, first, count, first + count == total}));
    }
    slots_[slot].length = total;
  }

  void step(std::uint32_t mask) {
    std::vector<SlotIndex> active;
    for (SlotIndex slot = 0; slot < slots_.size(); ++slot) {
      Slot& state = slots_[slot];
      if (!state.used || (mask >> slot & 1) != 0) continue;
      if (state.length == engine_.info().max_history_tokens || !engine_.extend(slot)) {
        release(slot);
        continue;
      }
      ++state.length;
      active.push_back(slot);
    }
    if (active.empty()) return;
    engine_.submit({.step = ++run_.given.steps, .slots = active});
    take(engine_.collect());
    run_.images.emplace_back(engine_.image().begin(), engine_.image().end());
  }

  void release(SlotIndex slot) {
    engine_.release(slot);
    slots_[slot] = {};
  }

  void take(const StepResult& result) {
    for (const RowResult& row : result.rows) {
      run_.given.outputs[slots_[row.slot].request].push_back(row.output_digest);
    }
  }

  KvrmEngine& engine_;
  FuzzReader& reader_;
  LoggedRun& run_;
  std::vector<Slot> slots_;
  RequestId next_request_ = 1;
};

void read_log(const std::string& path, LoggedRun& run) {
  DescriptorLogReader log = made(DescriptorLogReader::open(path));
  run.info = log.info();
  while (std::optional<LogEntry> entry = made(log.next())) run.entries.push_back(std::move(*entry));
}

}  // namespace

const ReplayWorld& replay_world() {
  static const ReplayWorld world = make_world();
  return world;
}

LoggedRun run_logged(FuzzReader& reader) {
  const ReplayWorld& world = replay_world();
  const MemoryFile file;
  LoggedRun run;
  run.model = reader.take<std::uint8_t>() % 2 == 0 ? world.attention.get() : world.decoder.get();
  run.spec = take_spec(reader, run.model->shape(), file.path());
  {
    const auto engine = made(KvrmEngine::make(run.spec, *run.model, world.kernels, *world.device));
    Calls calls(*engine, reader, run);
    const std::uint32_t count = reader.take<std::uint8_t>() % kMostCalls;
    for (std::uint32_t i = 0; i < count; ++i) calls.make_one();
  }
  run.spec.descriptor_log = {};
  read_log(file.path(), run);
  return run;
}

}  // namespace kvrm
