// `null`: answers at once with a fixed token and holds no memory. It measures the harness itself;
// its outputs mean nothing and are never verified.
#pragma once

#include <memory>

#include "harness/base/result.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"

namespace kvrm {

// As many slots as max_batch. Every token is 0; attention_only gives none, as everywhere.
Result<std::unique_ptr<Engine>> make_null_engine(const EngineSpec& spec, const Model& model);

}  // namespace kvrm
