// The fair-budget check (DESIGN 5): engines are compared only on equal terms.
#pragma once

#include <span>

#include "harness/base/result.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"

namespace kvrm {

// All engines have the same KV bytes, batch limit, longest history and token budget; the error
// names the two that differ. (The seed and the requests are the point's, one for all.)
Status check_equal_budgets(std::span<const EngineSpec> engines);

// An engine that has just been made reserves no more than its budget.
Status check_reserved(const EngineSpec& spec, const Engine& engine);

}  // namespace kvrm
