// The oracle: an Engine in double precision and plain loops, small enough to be obviously right and
// far too slow for anything else. It shares no code with the engines beyond
// harness/{base,contract}.
#pragma once

#include <memory>

#include "harness/contract/engine.h"
#include "harness/contract/model.h"

namespace kvrm {

// One slot, histories up to the model's max_len. Logits, or for attention_only the attention output
// [layers, query_heads, head_dim], are rounded to float once, at the end. The model must outlive
// it.
std::unique_ptr<Engine> make_oracle_engine(const Model& model);

}  // namespace kvrm
