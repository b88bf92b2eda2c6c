#include <nlohmann/json.hpp>

#include "harness/base/check.h"
#include "harness/cli/prompts.h"
#include "property_tests/fuzz/fuzz_input.h"

namespace kvrm {
namespace {

ModelShape shape_of(std::uint8_t byte) {
  ModelShape shape;
  shape.vocabulary = 1U << (byte % 16);
  shape.max_len = 1U << (byte / 16);
  return shape;
}

// Each prompt as its line should be, read by the library alone.
void check_against_lines(const std::vector<Prompt>& prompts, std::string_view text) {
  std::size_t next = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    KVRM_CHECK_LT(next, prompts.size());
    const Prompt& prompt = prompts[next++];
    const nlohmann::json object = nlohmann::json::parse(line);
    KVRM_CHECK_EQ(object["id"].dump(), std::to_string(prompt.id));
    KVRM_CHECK(object["prompt_tokens"] == nlohmann::json(prompt.tokens));
    KVRM_CHECK(object["steps"] == prompt.steps);
  }
  KVRM_CHECK_EQ(next, prompts.size());
}

}  // namespace

FuzzOutcome fuzz_prompts(FuzzBytes input) {
  FuzzReader reader(input);
  const ModelShape shape = shape_of(reader.take<std::uint8_t>());
  const std::string_view text = as_text(reader.rest());
  const MemoryFile file(text);
  const Result<std::vector<Prompt>> prompts = read_prompts(file.path(), shape);
  if (!prompts) {
    check_error_place(prompts.error(), file.path());
    return FuzzOutcome::refused;
  }
  KVRM_CHECK(!prompts->empty());
  for (const Prompt& prompt : *prompts) {
    KVRM_CHECK(!prompt.tokens.empty() && prompt.tokens.size() <= prompt.steps);
    KVRM_CHECK_LE(prompt.steps, shape.max_len);
    for (const TokenId token : prompt.tokens) KVRM_CHECK_LT(token, shape.vocabulary);
  }
  check_against_lines(*prompts, text);
  return FuzzOutcome::accepted;
}

}  // namespace kvrm
