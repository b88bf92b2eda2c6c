// What an engine is asked to be: its kind, label, typed options and budget, as the experiment gave
// them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kvrm {

enum class Placement : std::uint8_t { lifo, address_ordered, extent };
enum class Prefetch : std::uint8_t { block, run };
enum class Transport : std::uint8_t { fused, full, delta, remap };
// Pages behind a block pool: huge ones where the machine has them, or the smallest.
enum class PoolPages : std::uint8_t { huge, base };
enum class StaticAttention : std::uint8_t { full, early_exit };

// Far history (DESIGN 9) as a rule that depends on positions alone, so that prefill, decode,
// recomputing and the oracle follow the same one. Before a query at position p attends, every block
// of positions [j * block_tokens, (j + 1) * block_tokens) with j * block_tokens >= sink_tokens and
// (j + 1) * block_tokens <= p + 1 - window_tokens has become one entry, in ascending order of j;
// where `summaries` entries exist already, the two oldest have merged first. So a query attends the
// sinks, the entries and the rest exactly.
struct FarHistoryRule {
  bool operator==(const FarHistoryRule&) const = default;

  bool enabled = false;
  std::uint32_t block_tokens = 0;
  std::uint32_t window_tokens = 1024;  // at least block_tokens
  std::uint32_t sink_tokens = 64;      // a multiple of block_tokens
  std::uint32_t summaries = 64;        // entries at most, at least 2
};

// The union of all engines' options; the configuration refuses an option that the kind does not
// have.
struct EngineOptions {
  // pooled engines: paged, paged_graph, kvrm
  std::uint32_t block_tokens = 16;
  Placement placement = Placement::lifo;
  double watermark = 0;  // share of the pool kept free when admitting, [0, 1)
  Prefetch prefetch = Prefetch::block;
  PoolPages pages = PoolPages::huge;
  // static
  StaticAttention attention = StaticAttention::early_exit;
  // paged_graph: rows of each captured graph, ascending; empty: 1, 2, 4, 8, 16, 24, ... max_batch
  std::vector<std::uint32_t> batch_buckets;
  // static and paged_graph: history lengths of each captured graph, ascending; empty: none
  std::vector<std::uint32_t> length_buckets;
  // kvrm
  Transport transport = Transport::fused;
  std::uint64_t max_gap_blocks = 0;
  std::uint64_t max_group_bytes = 0;            // 0: no cap
  std::uint64_t compaction_bytes_per_step = 0;  // KV of all layers; 0: no compaction
  FarHistoryRule far_history;                   // its block_tokens is the engine's
};

// The same for all engines that are compared (DESIGN 5, fair budget).
struct Budget {
  std::uint64_t kv_bytes = 0;        // everything counted as reserved
  std::uint32_t max_batch = 0;       // decode slots
  std::uint32_t max_len = 0;         // positions of the longest history
  std::uint32_t prefill_tokens = 0;  // prefill positions between two decode steps
};

// The log of an engine's life that `kvrm` writes; no file: none.
struct DescriptorLogSpec {
  std::string file = {};
  std::string experiment = {};  // resolved YAML, kept in the log for whoever replays it
};

struct EngineSpec {
  std::string kind;
  std::string label;
  EngineOptions options;
  Budget budget;
  DescriptorLogSpec descriptor_log = {};
};

}  // namespace kvrm
