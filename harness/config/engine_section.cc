#include "harness/config/sections.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kMaxBlockTokens = 1024;
constexpr std::uint32_t kMaxBucket = 1U << 24;

std::vector<std::string> pooled() { return {"paged", "paged_graph", "kvrm"}; }

Section<EngineOptions> merge_section() {
  Section<EngineOptions> section;
  section
      .key({"max_gap_blocks",
            "Runs with holes of at most this many blocks between them count as one group.",
            Presence::optional,
            {"kvrm"}},
           &EngineOptions::max_gap_blocks, integer<std::uint64_t>(0, 1U << 20))
      .key({"max_group_bytes", "Largest transfer group; 0: no cap.", Presence::optional, {"kvrm"}},
           &EngineOptions::max_group_bytes, byte_size(0));
  return section;
}

Section<EngineOptions> compaction_section() {
  Section<EngineOptions> section;
  section.key({"bytes_per_step",
               "KV of all layers that may be moved in a step to join runs; 0: none.",
               Presence::optional,
               {"kvrm"}},
              &EngineOptions::compaction_bytes_per_step, byte_size(0));
  return section;
}

Section<FarHistoryRule> far_history_section() {
  constexpr std::uint32_t kMaxTokens = 1U << 24;
  Section<FarHistoryRule> section;
  section
      .key(
          {"enabled", "Replace what leaves the window by summaries.", Presence::optional, {"kvrm"}},
          &FarHistoryRule::enabled, boolean())
      .key({"window_tokens",
            "Last positions that stay exact, at least a block.",
            Presence::optional,
            {"kvrm"}},
           &FarHistoryRule::window_tokens, integer<std::uint32_t>(0, kMaxTokens))
      .key({"sink_tokens",
            "First positions that stay exact, a multiple of the block.",
            Presence::optional,
            {"kvrm"}},
           &FarHistoryRule::sink_tokens, integer<std::uint32_t>(0, kMaxTokens))
      .key({"summaries", "Entries at most, at least 2.", Presence::optional, {"kvrm"}},
           &FarHistoryRule::summaries, integer<std::uint32_t>(0, kMaxTokens));
  return section;
}

Section<EngineOptions> options_section() {
  const auto buckets = list_of(integer<std::uint32_t>(1, kMaxBucket));
  auto batch_buckets = buckets;
  batch_buckets.allowed += "; or max_batch for that one bucket";
  Section<EngineOptions> section;
  section
      .key({"block_tokens", "Positions of a block, 8 or a multiple of 16.", Presence::optional,
            pooled()},
           &EngineOptions::block_tokens, integer<std::uint32_t>(8, kMaxBlockTokens))
      .key({"placement", "Which free block a history gets next.", Presence::optional, pooled()},
           &EngineOptions::placement,
           choice<Placement>({{"lifo", Placement::lifo},
                              {"address_ordered", Placement::address_ordered},
                              {"extent", Placement::extent}}))
      .key({"watermark", "Share of the pool kept free when a request is admitted.",
            Presence::optional, pooled()},
           &EngineOptions::watermark, number(0.0, 0.99))
      .key({"prefetch", "How far ahead attention prefetches: 32 positions of a head, or (run) 64.",
            Presence::optional, pooled()},
           &EngineOptions::prefetch,
           choice<Prefetch>({{"block", Prefetch::block}, {"run", Prefetch::run}}))
      .key({"pages",
            "Pages behind the pool: `huge` ones, or the smallest (`base`), as transport `remap` "
            "has.",
            Presence::optional, pooled()},
           &EngineOptions::pages,
           choice<PoolPages>({{"huge", PoolPages::huge}, {"base", PoolPages::base}}))
      .key(
          {"attention",
           "`full` computes all `max_len` positions masked, `early_exit` stops at the live length.",
           Presence::optional,
           {"static"}},
          &EngineOptions::attention,
          choice<StaticAttention>(
              {{"full", StaticAttention::full}, {"early_exit", StaticAttention::early_exit}}))
      .key({"batch_buckets",
            "Rows of each captured graph, ascending; empty: 1, 2, 4, 8, 16, 24 and so on up to "
            "`max_batch`.",
            Presence::optional,
            {"paged_graph"}},
           &EngineOptions::batch_buckets, batch_buckets)
      .key({"length_buckets",
            "History lengths of each captured graph, ascending; empty: none.",
            Presence::optional,
            {"static", "paged_graph"}},
           &EngineOptions::length_buckets, buckets)
      .key({"transport",
            "Where transfer groups go (docs/kvrm.md, Transports).",
            Presence::optional,
            {"kvrm"}},
           &EngineOptions::transport,
           choice<Transport>({{"fused", Transport::fused},
                              {"full", Transport::full},
                              {"delta", Transport::delta},
                              {"remap", Transport::remap}}))
      .map(
          {"merge", "How runs merge into transfer groups.", Presence::optional, {"kvrm"}},
          [](auto& options) -> auto& { return options; }, merge_section())
      .map(
          {"compaction", "Joining runs by moving blocks.", Presence::optional, {"kvrm"}},
          [](auto& options) -> auto& { return options; }, compaction_section())
      .map({"far_history",
            "Bounded summaries of what attention no longer reads exactly (docs/kvrm.md, Far "
            "history).",
            Presence::optional,
            {"kvrm"}},
           &EngineOptions::far_history, far_history_section());
  return section;
}

}  // namespace

Section<EngineSpec> engine_section(const std::vector<std::string>& engine_kinds) {
  auto kinds = name_choice(engine_kinds);
  Section<EngineSpec> section;
  section.key({"kind", "The engine.", Presence::required}, &EngineSpec::kind, kinds)
      .key({"label", "Its name in all results, unique, beginning with its kind; absent: the kind.",
            Presence::derived},
           &EngineSpec::label, identifier())
      .map({"options", "Options of that kind."}, &EngineSpec::options, options_section());
  return section;
}

}  // namespace kvrm
