// Prompts of `kvrm generate`: read from JSONL, driven through an engine, decoded to text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"
#include "harness/device/clock.h"
#include "harness/driver/registry.h"

namespace kvrm {

inline constexpr TokenId kBeginOfSequence =
    1;  // llama2.c: opens a prompt; sampled, it ends the output

// `steps` counts forward passes, the prompt's included, so at most steps - tokens + 1 tokens come
// out.
struct Prompt {
  std::int64_t id = 0;
  std::vector<TokenId> tokens;
  std::uint32_t steps = 0;
};

// One JSON object a line with "id", "prompt_tokens" and "steps"; other keys are ignored. Errors
// name line and key.
Result<std::vector<Prompt>> read_prompts(const std::string& file, const ModelShape& shape);

// Greedy output tokens of each prompt, in order; a sampled BOS is the last one.
Result<std::vector<std::vector<TokenId>>> drive_prompts(Engine& engine,
                                                        const std::vector<Prompt>& prompts,
                                                        const Budget& budget,
                                                        const ModelShape& shape, Clock& clock);

// Prompt and output as text, without the closing BOS.
std::string decode_story(const TextCodec& codec, const std::vector<TokenId>& prompt,
                         const std::vector<TokenId>& output);

}  // namespace kvrm
