#include "harness/driver/fair_budget.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "harness/base/mutation.h"

namespace kvrm {
namespace {

struct Quantity {
  std::string_view name;
  std::uint64_t value;
};

std::array<Quantity, 4> quantities(const Budget& budget) {
  return {{{"kv_bytes", budget.kv_bytes},
           {"max_batch", budget.max_batch},
           {"max_len", budget.max_len},
           {"prefill_tokens", budget.prefill_tokens}}};
}

}  // namespace

Status check_equal_budgets(std::span<const EngineSpec> engines) {
  for (const EngineSpec& engine : engines) {
    const auto expected = quantities(engines.front().budget);
    const auto actual = quantities(engine.budget);
    for (std::size_t i = KVRM_MUTATE(fair_budget_first_unread, 0, 1); i < actual.size(); ++i) {
      if (actual[i].value == expected[i].value) continue;
      return bad_input(fmt::format(
          "engines {} and {} do not compete on equal terms: budget.{} is {} and {}",
          engines.front().label, engine.label, actual[i].name, expected[i].value, actual[i].value));
    }
  }
  return {};
}

Status check_reserved(const EngineSpec& spec, const Engine& engine) {
  const std::uint64_t reserved = engine.usage().memory.reserved_bytes;
  if (reserved <= spec.budget.kv_bytes) return {};
  return bad_input(fmt::format("engine {} reserves {} bytes of KV memory, budget.kv_bytes is {}",
                               spec.label, reserved, spec.budget.kv_bytes));
}

}  // namespace kvrm
