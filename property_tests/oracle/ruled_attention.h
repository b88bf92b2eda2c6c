// Attention over one kv head's history as a far-history rule has it, for the queries that share
// that head; with its shadow where one is wanted. Which entries exist is the caller's business.
#pragma once

#include <span>
#include <vector>

#include "harness/contract/engine.h"
#include "property_tests/oracle/reference_far_history.h"

namespace kvrm {

class RuledAttention {
 public:
  // `history` has every position up to the query's; `far` has been advanced to it. Both must
  // outlive this.
  RuledAttention(const Attended& history, const ReferenceFarHistory& far);

  // Into `output` [head_dim]. With a shadow, and where there is an entry, the output is compared
  // with exact attention.
  void attend(std::span<const double> query, ShadowError* shadow, std::span<double> output);

 private:
  Attended history_;
  const ReferenceFarHistory& far_;
  AttendedCopy ruled_;  // empty without entries
  std::vector<double> weights_;
};

}  // namespace kvrm
