// The engine counters by name, as one table, so that sums and reports cannot forget one.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "harness/contract/engine.h"

namespace kvrm {

struct CounterField {
  std::string_view name;
  std::uint64_t EngineCounters::*member;
};

inline constexpr std::array<CounterField, 25> kCounterFields = {{
    {"moved_bytes", &EngineCounters::moved_bytes},
    {"kv_read_bytes", &EngineCounters::kv_read_bytes},
    {"groups", &EngineCounters::groups},
    {"groups_minimum", &EngineCounters::groups_minimum},
    {"blocks", &EngineCounters::blocks},
    {"history_blocks", &EngineCounters::history_blocks},
    {"captures", &EngineCounters::captures},
    {"replays", &EngineCounters::replays},
    {"launches", &EngineCounters::launches},
    {"fallbacks", &EngineCounters::fallbacks},
    {"commits", &EngineCounters::commits},
    {"full_commits", &EngineCounters::full_commits},
    {"descriptor_bytes", &EngineCounters::descriptor_bytes},
    {"rows", &EngineCounters::rows},
    {"padding_rows", &EngineCounters::padding_rows},
    {"attended_positions", &EngineCounters::attended_positions},
    {"masked_positions", &EngineCounters::masked_positions},
    {"copy_on_writes", &EngineCounters::copy_on_writes},
    {"forks", &EngineCounters::forks},
    {"compacted_blocks", &EngineCounters::compacted_blocks},
    {"map_calls", &EngineCounters::map_calls},
    {"mapped_bytes", &EngineCounters::mapped_bytes},
    {"far_summaries", &EngineCounters::far_summaries},
    {"far_merges", &EngineCounters::far_merges},
    {"allocation_failures", &EngineCounters::allocation_failures},
}};
static_assert(sizeof(EngineCounters) == kCounterFields.size() * sizeof(std::uint64_t),
              "every counter has its row");

}  // namespace kvrm
