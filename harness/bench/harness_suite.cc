#include "harness/bench/harness_suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/prng.h"
#include "harness/driver/drive.h"
#include "harness/trace/trace_range.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kPromptTokens = 8;
constexpr std::uint32_t kOutputTokens = 128;

// The null engine looks at no model.
class NoModel final : public Model {
 private:
  const ModelShape& do_shape() const override { return shape_; }
  const ModelWeights& do_weights() const override { return weights_; }
  std::uint64_t do_digest() const override { return 0; }

  ModelShape shape_{.kind = ModelKind::decoder, .vocabulary = 512, .max_len = 1024};
  ModelWeights weights_;
};

// Equal requests, made as they are asked for.
class UniformStream final : public RequestStream {
 public:
  explicit UniformStream(std::uint64_t count) : count_(count) {}

 private:
  Result<std::optional<Request>> do_next() override {
    if (next_ == count_) return std::nullopt;
    Request request;
    request.id = next_;
    request.prompt_tokens = kPromptTokens;
    request.output_tokens = kOutputTokens;
    request.content_key = mix64(next_++);
    return request;
  }

  std::uint64_t count_;
  std::uint64_t next_ = 0;
};

Result<std::unique_ptr<Engine>> make_null(const Registry& registry, const Model& model,
                                          Device& device, const Budget& budget) {
  const auto entry = std::find_if(registry.engines.begin(), registry.engines.end(),
                                  [](const EngineEntry& engine) { return engine.kind == "null"; });
  if (entry == registry.engines.end()) return bad_input("suite harness: there is no engine `null`");
  return entry->make({.kind = "null", .label = "null", .options = {}, .budget = budget}, model,
                     device);
}

Result<std::unique_ptr<Device>> make_one_worker(const Registry& registry) {
  if (registry.backends.empty()) return bad_input("suite harness: there is no backend");
  return registry.backends.front().make(
      {.kind = registry.backends.front().kind, .profile = "", .workers = 1});
}

// What may be watched beside the event log, which is always written.
void watch_everything(DriveOptions& options, std::uint64_t& seen) {
  options.keep_output_tokens = true;
  options.progress = [&seen](const DriveProgress&) { ++seen; };
  options.on_finished = [&seen](const RequestRecord&, const OutputSample&) { ++seen; };
}

struct DriveCase {
  std::uint32_t batch = 1;
  std::uint64_t requests = 1;
  bool watched = false;
};

// A case with the tool attached. What it is to receive it must have received.
BenchSample received(const TraceSwitch& tool, const std::function<BenchSample()>& measure) {
  const std::uint64_t before = tool(true);
  const BenchSample sample = measure();
  const std::uint64_t after = tool(false);
  KVRM_CHECK_LT(before, after);
  return sample;
}

// One closed-loop run; an operation is one token. Engine and device are made outside of the
// measured time.
BenchSample drive_once(const Registry& registry, const DriveCase& run) {
  const auto [batch, requests, watched] = run;
  const Budget budget{.kv_bytes = 1, .max_batch = batch, .max_len = 1024, .prefill_tokens = 1024};
  const NoModel model;
  const auto device = make_one_worker(registry);
  KVRM_CHECK(device.has_value());
  const auto engine = make_null(registry, model, **device, budget);
  KVRM_CHECK(engine.has_value());
  UniformStream stream(requests);
  DriveOptions options;
  options.budget = budget;
  options.vocabulary = model.shape().vocabulary;
  options.expected_requests = requests;
  options.expected_output_tokens = requests * kOutputTokens;
  options.samples = {.longest = 0, .preempted = 0, .random = 0, .seed = 0};
  std::uint64_t seen = 0;
  if (watched) watch_everything(options, seen);
  Clock& clock = (*device)->clock();
  const Nanoseconds start = clock.now();
  const auto log = drive(**engine, stream, {.closed = true, .concurrency = batch}, options, clock);
  const Nanoseconds elapsed = clock.now() - start;
  KVRM_CHECK(log.has_value());
  return {.elapsed = elapsed, .operations = requests * kOutputTokens};
}

// Ranges that hold nothing; an operation is one, begin and end.
BenchSample empty_ranges(std::uint64_t count, Clock& clock) {
  const Nanoseconds start = clock.now();
  for (Epoch step = 0; step < count; ++step) const TraceRange range(TraceName::plan, step);
  return {.elapsed = std::max<Nanoseconds>(clock.now() - start, 1), .operations = count};
}

std::function<BenchSample()> with_tool(const TraceSwitch& tool,
                                       std::function<BenchSample()> measure) {
  return [tool, measure = std::move(measure)] { return received(tool, measure); };
}

void add_range_cases(std::vector<BenchCase>& cases, const TraceSwitch& tool, BenchSize size) {
  if (!trace::kBuiltIn) return;
  const std::uint64_t count = size == BenchSize::tiny ? 1000 : 1'000'000;
  const std::function<BenchSample()> measure = [count] {
    SteadyClock clock;
    return empty_ranges(count, clock);
  };
  BenchCase plain{
      .suite = "harness", .design = "range", .shape = "empty", .threads = 1, .measure = measure};
  cases.push_back(plain);
  if (!tool) return;
  plain.design = "range_traced";
  plain.measure = with_tool(tool, measure);
  cases.push_back(plain);
}

void add_drive_cases(std::vector<BenchCase>& cases, const Registry& registry,
                     const TraceSwitch& tool, DriveCase run) {
  const auto add = [&](const char* design, std::function<BenchSample()> measure) {
    cases.push_back({.suite = "harness",
                     .design = design,
                     .shape = fmt::format("batch-{}", run.batch),
                     .threads = 1,
                     .measure = std::move(measure)});
  };
  const auto drive_it = [&](bool watched) {
    run.watched = watched;
    return [&registry, run] { return drive_once(registry, run); };
  };
  add("null", drive_it(false));
  add("null_watched", drive_it(true));
  if (tool) add("null_traced", with_tool(tool, drive_it(false)));
}

Result<std::vector<BenchCase>> harness_cases(const Registry& registry, const TraceSwitch& tool,
                                             BenchSize size) {
  const auto device = make_one_worker(registry);
  if (!device) return tl::unexpected(device.error());
  if (const auto engine = make_null(registry, NoModel(), **device, {.max_batch = 1}); !engine) {
    return tl::unexpected(engine.error());
  }
  std::vector<BenchCase> cases;
  for (const std::uint32_t batch : {16U, 64U, 256U, 1024U}) {
    const std::uint64_t requests =
        size == BenchSize::tiny ? batch : std::max<std::uint64_t>(4096, std::uint64_t{4} * batch);
    add_drive_cases(cases, registry, tool, {batch, requests});
  }
  add_range_cases(cases, tool, size);
  return cases;
}

}  // namespace

BenchSuite harness_suite(const TraceSwitch& tool) {
  return {"harness", "cost of the driver itself: one token event with the null engine",
          [tool](const Registry& registry, BenchSize size) {
            return harness_cases(registry, tool, size);
          }};
}

}  // namespace kvrm
