// Far history (DESIGN 9) of one layer and kv head by its definition, in double precision: a list of
// entries, oldest first. What is stored is rounded as every engine rounds it; nothing else is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"
#include "property_tests/oracle/reference_attention.h"

namespace kvrm {

// A number of positions as one. Means are rounded to f32 and then to the KV type; a merge goes on
// from the stored means. `exact_` fields know no rounding at all, for the bound alone.
struct FarEntry {
  std::uint32_t count = 0;
  std::vector<double> key;    // [head_dim] mean, as stored
  std::vector<double> value;  // [head_dim] mean, as stored
  double key_radius = 0;      // no key of these positions is farther from `key`
  double value_radius = 0;
  std::vector<double> exact_key;  // [head_dim]
  std::vector<double> exact_value;
};

class ReferenceFarHistory {
 public:
  ReferenceFarHistory(const FarHistoryRule& rule, DType kv_dtype, std::uint32_t head_dim)
      : rule_(rule), kv_dtype_(kv_dtype), head_dim_(head_dim) {}

  // Everything that is due before a query at `position`. `history` has at least the positions below
  // it.
  void advance(std::uint32_t position, const Attended& history);

  const std::vector<FarEntry>& entries() const { return entries_; }
  std::size_t head_dim() const { return head_dim_; }
  // Positions [first, end) of the history are summarised.
  std::uint32_t summarised_first() const { return rule_.sink_tokens; }
  std::uint32_t summarised_end() const { return rule_.sink_tokens + blocks_ * rule_.block_tokens; }

 private:
  FarEntry summarise(std::uint32_t first, const Attended& history) const;
  FarEntry merge(const FarEntry& a, const FarEntry& b) const;

  FarHistoryRule rule_;
  DType kv_dtype_;
  std::uint32_t head_dim_;
  std::uint32_t blocks_ = 0;  // summarised
  std::vector<FarEntry> entries_;
};

// Owns what it attends.
struct AttendedCopy {
  std::vector<double> keys;
  std::vector<double> values;
  std::vector<double> bias;
  Attended view() const { return {.keys = keys, .values = values, .bias = bias}; }
};

// What a query attends: the positions that are not summarised, exactly, in order, and the entries
// between with the bias log n.
AttendedCopy attended_with_far_history(const ReferenceFarHistory& far, const Attended& history);
// The same without the entries.
AttendedCopy attended_exactly(const ReferenceFarHistory& far, const Attended& history);

}  // namespace kvrm
