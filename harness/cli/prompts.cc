#include "harness/cli/prompts.h"

#include <fmt/format.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "harness/driver/drive.h"

namespace kvrm {
namespace {

class PromptStream final : public RequestStream {
 public:
  explicit PromptStream(const std::vector<Prompt>& prompts) : prompts_(prompts) {}

 private:
  Result<std::optional<Request>> do_next() override {
    if (next_ == prompts_.size()) return std::nullopt;
    const Prompt& prompt = prompts_[next_];
    Request request;
    request.id = next_++;
    request.prompt_tokens = static_cast<std::uint32_t>(prompt.tokens.size());
    request.output_tokens = prompt.steps + 1 - request.prompt_tokens;
    request.prompt = prompt.tokens;
    request.stop_token = kBeginOfSequence;
    return request;
  }

  const std::vector<Prompt>& prompts_;
  std::size_t next_ = 0;
};

// A list or an object only by name: it may be too deep to be walked.
std::string describe(const nlohmann::json& value) {
  return value.is_structured() ? value.type_name() : value.dump().substr(0, 60);
}

Result<std::uint64_t> read_count(const nlohmann::json& object, const char* key, std::uint64_t low,
                                 std::uint64_t high) {
  if (!object.contains(key)) return bad_input(fmt::format("{}: missing", key));
  const nlohmann::json& value = object[key];
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() < low ||
      value.get<std::uint64_t>() > high) {
    return bad_input(
        fmt::format("{}: found {}, allowed are {} to {}", key, describe(value), low, high));
  }
  return value.get<std::uint64_t>();
}

Result<std::vector<TokenId>> read_tokens(const nlohmann::json& object, const ModelShape& shape) {
  if (!object.contains("prompt_tokens") || !object["prompt_tokens"].is_array() ||
      object["prompt_tokens"].empty()) {
    return bad_input("prompt_tokens: a list of at least one token is needed");
  }
  std::vector<TokenId> tokens;
  for (const nlohmann::json& value : object["prompt_tokens"]) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= shape.vocabulary) {
      return bad_input(fmt::format("prompt_tokens: found {}, allowed are 0 to {}", describe(value),
                                   shape.vocabulary - 1));
    }
    tokens.push_back(value.get<TokenId>());
  }
  return tokens;
}

std::optional<std::int64_t> read_id(const nlohmann::json& object) {
  const auto id = object.find("id");
  if (id == object.end() || !id->is_number_integer()) return std::nullopt;
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (id->is_number_unsigned() && id->get<std::uint64_t>() > kMost) return std::nullopt;
  return id->get<std::int64_t>();
}

Result<Prompt> parse_prompt(const std::string& line, const ModelShape& shape) {
  const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object()) return bad_input("not a JSON object");
  const std::optional<std::int64_t> id = read_id(object);
  if (!id) return bad_input("id: an integer of 64 bits with a sign is needed");
  Result<std::vector<TokenId>> tokens = read_tokens(object, shape);
  if (!tokens) return tl::unexpected(tokens.error());
  const Result<std::uint64_t> steps = read_count(object, "steps", tokens->size(), shape.max_len);
  if (!steps) return tl::unexpected(steps.error());
  return Prompt{
      .id = *id, .tokens = std::move(*tokens), .steps = static_cast<std::uint32_t>(*steps)};
}

}  // namespace

Result<std::vector<Prompt>> read_prompts(const std::string& file, const ModelShape& shape) {
  std::ifstream input(file, std::ios::binary);
  if (!input) return bad_input(fmt::format("{}: cannot be opened", file));
  std::vector<Prompt> prompts;
  std::string line;
  for (std::size_t number = 1; std::getline(input, line); ++number) {
    if (line.empty()) continue;
    Result<Prompt> prompt = parse_prompt(line, shape);
    if (!prompt) return bad_input(fmt::format("{}:{}:1: {}", file, number, prompt.error().message));
    prompts.push_back(std::move(*prompt));
  }
  if (prompts.empty()) return bad_input(fmt::format("{}: holds no prompt", file));
  return prompts;
}

Result<std::vector<std::vector<TokenId>>> drive_prompts(Engine& engine,
                                                        const std::vector<Prompt>& prompts,
                                                        const Budget& budget,
                                                        const ModelShape& shape, Clock& clock) {
  PromptStream stream(prompts);
  DriveOptions options;
  options.budget = budget;
  options.vocabulary = shape.vocabulary;
  options.keep_output_tokens = true;
  options.expected_requests = prompts.size();
  const Result<EventLog> log =
      drive(engine, stream, {.closed = true, .concurrency = engine.info().slots}, options, clock);
  if (!log) return tl::unexpected(log.error());
  for (const RequestRecord& request : log->requests) {
    if (request.state != RequestState::finished) {
      return bad_input(fmt::format("prompt {}: {} steps do not fit the engine's {} positions",
                                   prompts[request.id].id, prompts[request.id].steps,
                                   engine.info().max_history_tokens));
    }
  }
  return log->output_tokens;
}

std::string decode_story(const TextCodec& codec, const std::vector<TokenId>& prompt,
                         const std::vector<TokenId>& output) {
  std::string text;
  TokenId previous = prompt.front();
  const auto append = [&](TokenId token) {
    text += codec.decode(previous, token);
    previous = token;
  };
  for (std::size_t i = 1; i < prompt.size(); ++i) append(prompt[i]);
  for (const TokenId token : output) {
    if (token == kBeginOfSequence) break;
    append(token);
  }
  return text;
}

}  // namespace kvrm
