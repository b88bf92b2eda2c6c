// kvrm generate: greedy completions of prompts by one engine, for checking tokens and for reading a
// story.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "harness/cli/command.h"
#include "harness/cli/prompts.h"
#include "harness/cli/terminal.h"
#include "harness/driver/drive.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kBatch = 8;
constexpr std::uint32_t kPrefillTokens = 256;

struct GenerateOptions {
  std::string model;
  std::string tokenizer;
  std::string prompt;
  std::string prompts;
  std::string engine = "kvrm";
  std::string backend = "cpu";
  std::string kv_dtype = "f32";
  std::string out;
  std::uint32_t steps = 256;
  std::vector<std::string> overrides;
};

// The command's arguments as an experiment, so that engine options have one parser and one set of
// errors. The budget holds a full batch of the longest histories, twice over for engines that
// stage.
std::string experiment_text(const GenerateOptions& options, const ModelShape& shape) {
  const std::uint64_t history_bytes = shape.kv_bytes_per_token() * round_up(shape.max_len, 256);
  return fmt::format(
      "schema: kvrm.experiment/1\nname: generate\nquestion: what does the model say?\n"
      "model: {{kind: decoder, checkpoint: \"{}\", kv_dtype: {}}}\nbackend: {{kind: {}}}\n"
      "workload: {{requests: 1, prompt_tokens: {{kind: fixed, value: 1}}, output_tokens: {{kind: "
      "fixed, value: 1}}}}\n"
      "engines: [{{kind: {}}}]\n"
      "budget: {{kv_bytes: {}, max_batch: {}, max_len: {}, prefill_tokens: {}}}\n",
      std::filesystem::absolute(options.model).string(), options.kv_dtype, options.backend,
      options.engine, std::uint64_t{2} * kBatch * history_bytes, kBatch, shape.max_len,
      kPrefillTokens);
}

class GenerateCommand final : public Command {
 public:
  GenerateCommand(CLI::App& parent, const Registry& registry)
      : Command(parent, "generate", "greedy completions of prompts by one engine"),
        registry_(registry) {
    app().add_option("--model", options_.model, "llama2.c checkpoint")->required();
    app().add_option("--tokenizer", options_.tokenizer, "llama2.c tokenizer, for --prompt");
    CLI::Option* prompt = app().add_option("--prompt", options_.prompt, "text to complete");
    app()
        .add_option("--prompts", options_.prompts,
                    "JSONL of {\"id\", \"prompt_tokens\", \"steps\"}")
        ->excludes(prompt);
    app().add_option("--engine", options_.engine, "engine kind");
    app().add_option("--backend", options_.backend, "backend kind");
    app().add_option("--kv-dtype", options_.kv_dtype, "f32, f16 or bf16");
    app()
        .add_option("--steps", options_.steps, "forward passes of --prompt, prompt included")
        ->check(CLI::Range(1U, 1U << 20));
    app()
        .add_option("--set", options_.overrides,
                    "engine.KEY=VALUE, an engine option; may be repeated")
        ->allow_extra_args(false);
    app().add_option("--out", options_.out,
                     "write JSONL of {\"id\", \"output_tokens\"} here; default: print");
  }

 private:
  int do_run() override {
    const Status done = generate();
    return done ? 0 : report_error(done.error());
  }

  Status generate() {
    if (options_.prompt.empty() == options_.prompts.empty() && app().count("--prompt") == 0) {
      return bad_input("generate: give --prompt TEXT or --prompts FILE.jsonl");
    }
    Result<Experiment> experiment = resolve();
    if (!experiment) return tl::unexpected(experiment.error());
    ExperimentPoint& point = experiment->points.front();
    Result<std::unique_ptr<Model>> model = registry_.load_model(point.model);
    if (!model) return tl::unexpected(model.error());
    return options_.prompts.empty() ? complete_text(point, **model) : complete_file(point, **model);
  }

  // Loads the checkpoint once for its context length, which bounds the budget.
  Result<Experiment> resolve() const {
    ModelSpec probe;
    probe.checkpoint = options_.model;
    const Result<std::unique_ptr<Model>> model = registry_.load_model(probe);
    if (!model) return tl::unexpected(model.error());
    ParseRequest request;
    request.file = "generate";
    for (const std::string& text : options_.overrides) {
      if (text.rfind("engine.", 0) != 0) {
        return bad_input(
            fmt::format("--set {}: only engine options can be set here: engine.KEY=VALUE", text));
      }
      request.overrides.push_back("engines.0.options." +
                                  text.substr(std::string("engine.").size()));
    }
    for (const EngineEntry& entry : registry_.engines) request.engine_kinds.push_back(entry.kind);
    for (const BackendEntry& entry : registry_.backends)
      request.backend_kinds.push_back(entry.kind);
    request.text = experiment_text(options_, (*model)->shape());
    return parse_experiment(request);
  }

  Status complete_text(const ExperimentPoint& point, const Model& model) const {
    if (options_.tokenizer.empty()) return bad_input("generate: --prompt needs --tokenizer");
    const Result<TextCodec> codec =
        registry_.load_tokenizer(options_.tokenizer, model.shape().vocabulary);
    if (!codec) return tl::unexpected(codec.error());
    const Prompt prompt{.id = 0, .tokens = codec->encode(options_.prompt), .steps = options_.steps};
    const Result<std::vector<std::vector<TokenId>>> outputs = complete({prompt}, point, model);
    if (!outputs) return tl::unexpected(outputs.error());
    fmt::print("{}\n", decode_story(*codec, prompt.tokens, outputs->front()));
    return {};
  }

  Status complete_file(const ExperimentPoint& point, const Model& model) const {
    const Result<std::vector<Prompt>> prompts = read_prompts(options_.prompts, model.shape());
    if (!prompts) return tl::unexpected(prompts.error());
    const Result<std::vector<std::vector<TokenId>>> outputs = complete(*prompts, point, model);
    if (!outputs) return tl::unexpected(outputs.error());
    std::string lines;
    for (std::size_t i = 0; i < prompts->size(); ++i) {
      lines += nlohmann::ordered_json{{"id", (*prompts)[i].id}, {"output_tokens", (*outputs)[i]}}
                   .dump() +
               "\n";
    }
    if (options_.out.empty()) {
      fmt::print("{}", lines);
      return {};
    }
    std::ofstream file(options_.out, std::ios::binary);
    file << lines << std::flush;
    if (!file)
      return fail(ExitCode::incomplete, fmt::format("{}: cannot be written", options_.out));
    return {};
  }

  // Output tokens by prompt.
  Result<std::vector<std::vector<TokenId>>> complete(const std::vector<Prompt>& prompts,
                                                     const ExperimentPoint& point,
                                                     const Model& model) const {
    const auto backend =
        std::find_if(registry_.backends.begin(), registry_.backends.end(),
                     [&](const BackendEntry& entry) { return entry.kind == point.backend.kind; });
    Result<std::unique_ptr<Device>> device = backend->make(point.backend);
    if (!device) return tl::unexpected(device.error());
    const EngineSpec& spec = point.engines.front();
    const auto entry =
        std::find_if(registry_.engines.begin(), registry_.engines.end(),
                     [&](const EngineEntry& engine) { return engine.kind == spec.kind; });
    Result<std::unique_ptr<Engine>> engine = entry->make(spec, model, **device);
    if (!engine) return tl::unexpected(engine.error());
    return drive_prompts(**engine, prompts, spec.budget, model.shape(), (*device)->clock());
  }

  const Registry& registry_;
  GenerateOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_generate_command(CLI::App& app, const Registry& registry) {
  return std::make_unique<GenerateCommand>(app, registry);
}

}  // namespace kvrm
