// The contract between the driver and an engine. The driver schedules requests onto slots and owns
// the clock; an engine owns KV memory and runs prefill chunks and decode steps. The driver never
// knows which engine it drives.
//
// The life of a slot is a numbered protocol:
//   1. admit()   takes memory for the tokens known so far (prompt, or prompt + output after a
//   preemption).
//   2. prefill() runs those tokens in chunks, in order; the last chunk yields the next token.
//   3. extend()  takes room for one more position; then submit() with that slot active, then
//   collect().
//   2'. Where admit() forked another slot there is nothing to prefill; 3 follows.
//   4. release() gives everything back. The driver releases a slot it preempts and admits the
//   request again later.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/base/ids.h"
#include "harness/base/units.h"
#include "harness/contract/device_run.h"
#include "harness/contract/engine_spec.h"

namespace kvrm {

// What is fixed for an engine's life.
struct EngineInfo {
  std::string kind;
  std::string label;
  std::uint32_t slots = 0;               // rows of the fixed batch that the memory budget allows
  std::uint32_t max_history_tokens = 0;  // longest history that fits alone
  bool exact = true;                     // false: outputs approximate by design (far history)
  bool checked = true;                   // false: outputs mean nothing (`null`)
  bool can_fork = false;                 // admit() understands Admission::fork_from
  FarHistoryRule far_history;            // the rule that outputs follow where it is enabled
};

// Tokens are empty for attention_only; then only their number counts.
struct Admission {
  SlotIndex slot = 0;
  RequestId request = 0;
  std::uint64_t content_key = 0;
  std::uint32_t token_count = 0;    // positions to prefill
  std::span<const TokenId> tokens;  // [token_count], need not outlive the call
  // Content of the first prefix_tokens positions (Request); attention_only only.
  std::uint64_t prefix_key = 0;
  std::uint32_t prefix_tokens = 0;
  // A slot past its prefill whose first token_count - 1 positions are this request's too: they are
  // shared instead of prefilled, and the first step consumes the last of `tokens`. Only where
  // EngineInfo::can_fork.
  std::optional<SlotIndex> fork_from;
};

struct PrefillChunk {
  SlotIndex slot = 0;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  bool last = false;  // yields a token
};

// One decode step over the slots named, each of which consumes its last sampled token.
struct StepPlan {
  Epoch step = 0;                    // rises by one
  std::span<const SlotIndex> slots;  // ascending, distinct
};

// What one row gave. `output` is what the token was chosen from: logits [vocabulary], or for
// attention_only the attention output [layers, query_heads, head_dim]; it is valid until the
// engine's next call.
struct RowResult {
  SlotIndex slot = 0;
  TokenId token = kNoToken;         // kNoToken for attention_only
  std::uint64_t output_digest = 0;  // attention_only: hash of `output`; decoder: the token
  std::span<const float> output;
};

// Time of one step by phase, not counting what prepare() did ahead of it. replay begins with the
// launch and includes the device to its end, whether the host waited for it or did other work.
struct PhaseTimes {
  Nanoseconds plan = 0;
  Nanoseconds commit = 0;
  Nanoseconds remap = 0;  // part of commit: page-table work of transport `remap`
  Nanoseconds replay = 0;
  Nanoseconds sample = 0;
};

struct StepResult {
  std::span<const RowResult> rows;  // in the order of the plan; valid until the engine's next call
  PhaseTimes phases;
  DeviceRun device{};
};

// KV bytes (docs/ARCHITECTURE.md, Words): reserved >= allocated >= live. The other figures are
// beside the budget.
struct MemoryUsage {
  std::uint64_t reserved_bytes = 0;
  std::uint64_t allocated_bytes = 0;
  std::uint64_t live_bytes = 0;
  std::uint64_t staging_bytes = 0;  // part of reserved: views and staging
  std::uint64_t graph_bytes = 0;
  std::uint64_t metadata_bytes = 0;
};

// Everything an engine counts, since it was made. Monotone; the driver takes differences.
struct EngineCounters {
  std::uint64_t moved_bytes = 0;     // copied by transport, both prefill and decode
  std::uint64_t kv_read_bytes = 0;   // KV that decode attention read, padding included
  std::uint64_t groups = 0;          // transfer groups of decode steps, all slots, one layer
  std::uint64_t groups_minimum = 0;  // runs: the least number possible
  std::uint64_t blocks = 0;          // blocks in those groups
  std::uint64_t history_blocks = 0;  // of all open histories, summed over decode steps
  std::uint64_t captures = 0;
  std::uint64_t replays = 0;
  std::uint64_t launches = 0;   // eager decode operations
  std::uint64_t fallbacks = 0;  // decode steps that should have replayed and did not
  std::uint64_t commits = 0;
  std::uint64_t full_commits = 0;
  std::uint64_t descriptor_bytes = 0;
  std::uint64_t rows = 0;  // rows computed in decode steps, padding included
  std::uint64_t padding_rows = 0;
  std::uint64_t attended_positions =
      0;  // positions computed by decode attention, masked ones included
  std::uint64_t masked_positions = 0;
  std::uint64_t copy_on_writes = 0;
  std::uint64_t forks = 0;
  std::uint64_t compacted_blocks = 0;  // moved to join runs
  std::uint64_t map_calls = 0;         // of transport `remap`
  std::uint64_t mapped_bytes = 0;
  std::uint64_t far_summaries = 0;  // blocks that became an entry of the far history
  std::uint64_t far_merges = 0;     // entries that merged into their neighbour
  std::uint64_t allocation_failures = 0;
};

// Counts by size, in blocks: entry i counts sizes in [2^i, 2^(i + 1)), the last one all beyond.
using SizeHistogram = std::array<std::uint64_t, 16>;

// The entry that counts this size, at least 1.
inline std::size_t size_class(std::uint32_t blocks) {
  const auto log2 = static_cast<std::size_t>(std::bit_width(blocks) - 1);
  return std::min(log2, SizeHistogram().size() - 1);
}

// Far history against exact attention with the same queries: over the outputs of all query heads of
// all rows that were given and had an entry to see. Errors are L2 norms of the difference of one
// head's output; the bound is DESIGN 9's, for that query, with the rounding of stored means.
struct ShadowError {
  std::uint64_t outputs = 0;
  double error_max = 0;
  double error_sum = 0;
  double bound_max = 0;
  double bound_sum = 0;
  double error_over_bound_max = 0;  // above 1: the bound is broken

  double error_mean() const { return outputs == 0 ? 0 : error_sum / static_cast<double>(outputs); }
  double bound_mean() const { return outputs == 0 ? 0 : bound_sum / static_cast<double>(outputs); }
};

struct EngineUsage {
  MemoryUsage memory;
  EngineCounters counters;
  std::uint64_t launch_hash = 0;  // of the last decode replay; 0 for eager engines
  std::uint64_t launch_hash_changes =
      0;  // replays whose hash differed from the first of the same graph
  // As launch_hash, but the same for two engines that are built the same, wherever their memory
  // lies.
  std::uint64_t launch_signature = 0;
  // Summed over decode steps: runs of every history, and the groups that the step's rows read.
  SizeHistogram runs_by_blocks{};
  SizeHistogram groups_by_blocks{};
  ShadowError shadow;   // the oracle's, where it follows a far-history rule
  std::string failure;  // what could not be done beside decoding (a log that cannot be written)
};

class Engine {
 public:
  virtual ~Engine() = default;

  const EngineInfo& info() const { return do_info(); }
  // All or nothing; false: no memory now, nothing changed. CHECKs that the slot is free and the
  // history can fit alone.
  [[nodiscard]] bool admit(const Admission& admission) { return do_admit(admission); }
  // One row when the chunk is the last one, none otherwise.
  StepResult prefill(const PrefillChunk& chunk) { return do_prefill(chunk); }
  // Room for one more position of the slot. All or nothing; false: no memory now, nothing changed.
  [[nodiscard]] bool extend(SlotIndex slot) { return do_extend(slot); }
  // Starts a step; collect() waits for it. Between the two only extend(), prepare() and usage() may
  // be called.
  void submit(const StepPlan& plan) { do_submit(plan); }
  // Does ahead what host work of the next step can be done while this one runs, as if none of
  // `next.slots` ended; each has been extended. The next submit() may name other slots; extend()
  // and admit() before it, and release(), are as ever.
  void prepare(const StepPlan& next) { do_prepare(next); }
  StepResult collect() { return do_collect(); }
  // Idempotent on a free slot.
  void release(SlotIndex slot) { do_release(slot); }
  EngineUsage usage() const { return do_usage(); }

 private:
  virtual const EngineInfo& do_info() const = 0;
  virtual bool do_admit(const Admission& admission) = 0;
  virtual StepResult do_prefill(const PrefillChunk& chunk) = 0;
  virtual bool do_extend(SlotIndex slot) = 0;
  virtual void do_submit(const StepPlan& plan) = 0;
  virtual void do_prepare(const StepPlan& /*next*/) {}
  virtual StepResult do_collect() = 0;
  virtual void do_release(SlotIndex slot) = 0;
  virtual EngineUsage do_usage() const = 0;
};

}  // namespace kvrm
