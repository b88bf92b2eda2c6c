// The oracle: an Engine in double precision and plain loops, small enough to be obviously right and
// far too slow for anything else. It shares no code with the engines beyond
// harness/{base,contract}.
#pragma once

#include <memory>

#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"

namespace kvrm {

// One slot, histories up to the model's max_len. Logits, or for attention_only the attention output
// [layers, query_heads, head_dim], are rounded to float once, at the end. The model must outlive
// it.
//
// With an enabled rule it follows that rule, and is its own shadow: for every row that it gives,
// each query head's attention output is compared with exact attention over all positions, with the
// same query, keys and values (EngineUsage::shadow, far_shadow.h). Memory counts what the rule
// keeps, not what the shadow reads.
std::unique_ptr<Engine> make_oracle_engine(const Model& model, const FarHistoryRule& rule = {});

}  // namespace kvrm
