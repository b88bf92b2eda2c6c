// One request alone through an engine, without queue or clock: what its outputs are when nothing
// else is in the batch.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "harness/contract/engine.h"
#include "harness/contract/model.h"
#include "harness/contract/request.h"
#include "harness/result/event_log.h"

namespace kvrm {

struct SoloRun {
  std::vector<std::uint64_t> digests;  // of each output: the token, or the attention output's hash
  OutputSample captured;
  std::uint64_t chain = 0;  // as RequestRecord::output_digest
};

inline constexpr std::uint32_t kCaptureLast = std::numeric_limits<std::uint32_t>::max();

// `engine` holds no request and the request fits. Prefill runs in chunks of `prefill_tokens`.
// Captures the output with index `capture`, or the last one.
SoloRun run_alone(Engine& engine, const Request& request, const ModelShape& shape,
                  std::uint32_t prefill_tokens, std::uint32_t capture = kCaptureLast);

}  // namespace kvrm
