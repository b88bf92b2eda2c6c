// The oracle's far history: entries by their closed form, DESIGN 9's inequalities with the rounding
// of stored means on thousands of random cases, and the cases in which it is exact.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "harness/base/prng.h"
#include "property_tests/oracle/far_shadow.h"
#include "property_tests/oracle/reference_far_history.h"
#include "property_tests/oracle/ruled_attention.h"

namespace kvrm {
namespace {

using Vector = std::vector<double>;

FarHistoryRule rule_of(std::uint32_t block, std::uint32_t window, std::uint32_t sinks,
                       std::uint32_t summaries) {
  return {.enabled = true,
          .block_tokens = block,
          .window_tokens = window,
          .sink_tokens = sinks,
          .summaries = summaries};
}

// A history with everything due done before the query at its last position.
struct Case {
  FarHistoryRule rule;
  DType dtype = DType::f32;
  std::uint32_t head_dim = 1;
  Vector keys;
  Vector values;

  std::uint32_t positions() const { return static_cast<std::uint32_t>(keys.size()) / head_dim; }
  Attended history() const { return {.keys = keys, .values = values, .bias = {}}; }
  ReferenceFarHistory far() const {
    ReferenceFarHistory far(rule, dtype, head_dim);
    far.advance(positions() - 1, history());
    return far;
  }
  Attended slice(std::uint32_t first, std::uint32_t count) const {
    const std::span<const double> all_keys(keys);
    const std::span<const double> all_values(values);
    return {
        .keys = all_keys.subspan(std::size_t{first} * head_dim, std::size_t{count} * head_dim),
        .values = all_values.subspan(std::size_t{first} * head_dim, std::size_t{count} * head_dim),
        .bias = {}};
  }
  FarComparison compare(const Vector& query) const {
    const ReferenceFarHistory entries = far();
    RuledAttention attention(history(), entries);
    Vector output(head_dim);
    attention.attend(query, nullptr, output);
    return compare_with_exact(query, history(), entries, output);
  }
};

void append_random(RandomStream& random, double scale, const Case& setup, Vector& out) {
  for (std::uint32_t d = 0; d < setup.head_dim; ++d) {
    out.push_back(round_to(setup.dtype, static_cast<float>(scale * random.normal())));
  }
}

Case draw_case(RandomStream& random) {
  const std::uint32_t block = 1U << random.below(4);
  Case setup{.rule = rule_of(block, block + static_cast<std::uint32_t>(random.below(2 * block)),
                             block * static_cast<std::uint32_t>(random.below(2)),
                             2 + static_cast<std::uint32_t>(random.below(3)))};
  setup.dtype = std::vector{DType::f32, DType::f16, DType::bf16}[random.below(3)];
  setup.head_dim = 1U << random.below(4);
  const double scale = std::vector{0.03, 0.1, 0.5, 1.0, 3.0}[random.below(5)];
  const std::uint64_t blocks = 1 + random.below(2 * setup.rule.summaries);
  const std::uint64_t positions =
      setup.rule.sink_tokens + setup.rule.window_tokens + blocks * block + random.below(block);
  for (std::uint64_t i = 0; i < positions; ++i) {
    append_random(random, scale, setup, setup.keys);
    append_random(random, 1, setup, setup.values);
  }
  return setup;
}

Vector draw_query(RandomStream& random, const Case& setup) {
  const double scale = std::exp(random.normal());
  Vector query;
  for (std::uint32_t d = 0; d < setup.head_dim; ++d) query.push_back(scale * random.normal());
  return query;
}

// Since the two oldest merge, the oldest entry has swallowed all but the last ones.
std::vector<std::uint32_t> counts_by_closed_form(const FarHistoryRule& rule,
                                                 std::uint32_t positions) {
  const std::uint32_t from = rule.sink_tokens + rule.window_tokens;
  const std::uint32_t blocks = positions < from ? 0 : (positions - from) / rule.block_tokens;
  std::vector<std::uint32_t> counts(std::min(blocks, rule.summaries), rule.block_tokens);
  if (!counts.empty()) {
    counts[0] = (blocks - static_cast<std::uint32_t>(counts.size()) + 1) * rule.block_tokens;
  }
  return counts;
}

TEST(ReferenceFarHistory, EntriesStandForTheBlocksThatLeftTheWindow) {
  RandomStream random(1, "far entries");
  int merged = 0;
  int empty = 0;
  for (int i = 0; i < 300; ++i) {
    Case setup = draw_case(random);
    const std::uint32_t positions = 1 + static_cast<std::uint32_t>(random.below(setup.positions()));
    setup.keys.resize(std::size_t{positions} * setup.head_dim);
    setup.values.resize(std::size_t{positions} * setup.head_dim);
    const ReferenceFarHistory far = setup.far();
    const auto counts = counts_by_closed_form(setup.rule, positions);
    ASSERT_EQ(far.entries().size(), counts.size());
    std::uint32_t at = setup.rule.sink_tokens;
    for (std::size_t e = 0; e < counts.size(); ++e) {
      const FarEntry& entry = far.entries()[e];
      ASSERT_EQ(entry.count, counts[e]);
      const Attended members = setup.slice(at, counts[e]);
      for (std::uint32_t d = 0; d < setup.head_dim; ++d) {
        double key = 0;
        double value = 0;
        for (std::uint32_t m = 0; m < counts[e]; ++m) {
          key += members.keys[m * setup.head_dim + d] / counts[e];
          value += members.values[m * setup.head_dim + d] / counts[e];
        }
        ASSERT_NEAR(entry.exact_key[d], key, 1e-12);
        ASSERT_NEAR(entry.exact_value[d], value, 1e-12);
        // Every merge rounds once more, a dozen times: 2^-9 of values below 16, or 2^-24.
        const double rounding = setup.dtype == DType::f32 ? 1e-4 : 0.4;
        ASSERT_NEAR(entry.key[d], key, rounding);
        ASSERT_NEAR(entry.value[d], value, rounding);
        ASSERT_EQ(entry.key[d], round_to(setup.dtype, static_cast<float>(entry.key[d])));
        ASSERT_EQ(entry.value[d], round_to(setup.dtype, static_cast<float>(entry.value[d])));
      }
      for (std::uint32_t m = 0; m < counts[e]; ++m) {
        const std::size_t place = std::size_t{m} * setup.head_dim;
        ASSERT_LE(distance(members.keys.subspan(place, setup.head_dim), entry.key),
                  entry.key_radius * (1 + 1e-12));
        ASSERT_LE(distance(members.values.subspan(place, setup.head_dim), entry.value),
                  entry.value_radius * (1 + 1e-12));
      }
      at += counts[e];
      merged += counts[e] > setup.rule.block_tokens ? 1 : 0;
    }
    empty += counts.empty() ? 1 : 0;
    // Sinks, entries and window are all positions.
    ASSERT_EQ(at, far.summarised_end());
    const AttendedCopy exact = attended_exactly(far, setup.history());
    const std::size_t summarised = counts.empty() ? 0 : at - setup.rule.sink_tokens;
    ASSERT_EQ(exact.keys.size() / setup.head_dim + summarised, positions);
  }
  EXPECT_GT(merged, 20);
  EXPECT_GT(empty, 20);
}

// Position after position, or at once: the rule depends on positions alone.
TEST(ReferenceFarHistory, AdvancingInSmallStepsChangesNothing) {
  RandomStream random(2, "far steps");
  for (int i = 0; i < 100; ++i) {
    const Case setup = draw_case(random);
    ReferenceFarHistory steps(setup.rule, setup.dtype, setup.head_dim);
    for (std::uint32_t p = 0; p < setup.positions(); ++p) {
      steps.advance(p, setup.slice(0, p + 1));
    }
    const ReferenceFarHistory at_once = setup.far();
    ASSERT_EQ(steps.entries().size(), at_once.entries().size());
    for (std::size_t e = 0; e < steps.entries().size(); ++e) {
      ASSERT_EQ(steps.entries()[e].count, at_once.entries()[e].count);
      ASSERT_EQ(steps.entries()[e].key, at_once.entries()[e].key);
      ASSERT_EQ(steps.entries()[e].value, at_once.entries()[e].value);
      ASSERT_EQ(steps.entries()[e].key_radius, at_once.entries()[e].key_radius);
    }
  }
}

// Z' exp(-e) <= Z <= Z' cosh(r) exp(e), and the entry's own output is within its share of the
// bound.
void expect_entry_inequalities(const Case& setup, const Vector& query, const FarEntry& entry,
                               const Attended& members) {
  const double scale = 1 / std::sqrt(static_cast<double>(setup.head_dim));
  const double length = std::sqrt(dot(query, query));
  const double r = scale * length * entry.key_radius;
  const double e = scale * length * distance(entry.exact_key, entry.key);
  const double at_mean = scale * dot(query, entry.key);
  double ratio = 0;  // Z / Z'
  for (std::uint32_t m = 0; m < entry.count; ++m) {
    const auto key = members.keys.subspan(std::size_t{m} * setup.head_dim, setup.head_dim);
    ratio += std::exp(scale * dot(query, key) - at_mean) / entry.count;
  }
  ASSERT_GE(ratio, std::exp(-e) * (1 - 1e-12));
  ASSERT_LE(ratio, std::cosh(r) * std::exp(e) * (1 + 1e-12));
  Vector weights;
  Vector output(setup.head_dim);
  reference_attention(query, members, weights, output);
  ASSERT_LE(distance(output, entry.value), std::tanh(r / 2) * 2 * entry.value_radius +
                                               distance(entry.exact_value, entry.value) + 1e-12);
}

TEST(FarBound, HoldsOnThousandsOfCasesAndIsNearlyAttained) {
  RandomStream random(3, "far bound");
  ShadowError shadow;
  int rounded = 0;
  int merged = 0;
  for (int i = 0; i < 4000; ++i) {
    const Case setup = draw_case(random);
    const Vector query = draw_query(random, setup);
    const ReferenceFarHistory far = setup.far();
    ASSERT_FALSE(far.entries().empty());
    std::uint32_t at = setup.rule.sink_tokens;
    for (const FarEntry& entry : far.entries()) {
      ASSERT_NO_FATAL_FAILURE(
          expect_entry_inequalities(setup, query, entry, setup.slice(at, entry.count)));
      at += entry.count;
      rounded += entry.key != entry.exact_key ? 1 : 0;
      merged += entry.count > setup.rule.block_tokens ? 1 : 0;
    }
    count_comparison(setup.compare(query), shadow);
    ASSERT_LE(shadow.error_over_bound_max, 1) << "case " << i;
  }
  EXPECT_EQ(shadow.outputs, 4000U);
  EXPECT_GT(shadow.error_over_bound_max, 0.9);
  EXPECT_GT(rounded, 1000);
  EXPECT_GT(merged, 1000);
}

// One dimension, a summarised block of keys +-a and values +-b, and next to no mass elsewhere: to
// first order in a the output moves by b a, and so says the bound.
TEST(FarBound, IsAttainedWhereValuesGoWithKeys) {
  Case setup{.rule = rule_of(2, 2, 0, 2)};
  constexpr double kKey = 0x1p-12;
  setup.keys = {kKey, -kKey, -100, -100};
  setup.values = {8, -8, 0, 0};
  const FarComparison comparison = setup.compare({1});
  EXPECT_NEAR(comparison.error, 8 * kKey, 1e-9);
  EXPECT_LE(comparison.error, comparison.bound);
  EXPECT_GT(comparison.error, 0.9999 * comparison.bound);
}

// Two entries of one mass each, of which one really has cosh(a) as much, and next to nothing beside
// them: mass moves over the distance between their values.
TEST(FarBound, IsAttainedWhereMassMovesBetweenEntries) {
  Case setup{.rule = rule_of(2, 2, 0, 2)};
  setup.keys = {0.125, -0.125, 0, 0, -900, -900};
  setup.values = {1, 1, -1, -1, 0, 0};
  const FarComparison comparison = setup.compare({1});
  EXPECT_NEAR(comparison.error, std::tanh(std::log(std::cosh(0.125)) / 2), 1e-12);
  EXPECT_LE(comparison.error, comparison.bound);
  EXPECT_GT(comparison.error, 0.9999 * comparison.bound);
}

// Fifteen keys x and one that is a unit in the last place larger: the mean is stored as x, and what
// that takes from the entry's mass is more than the radius alone would allow.
TEST(FarBound, CountsTheRoundingOfKeys) {
  Case setup{.rule = rule_of(16, 16, 0, 2), .dtype = DType::bf16};
  setup.keys.assign(16, 1.0);
  setup.keys[15] = 1 + 0x1p-7;
  setup.keys.resize(32, 1.0);
  setup.values.assign(16, 1.0);
  setup.values.resize(32, -1.0);
  const FarComparison comparison = setup.compare({0.01});
  const double r = 0.01 * 0x1p-7;
  const double without = std::tanh(std::log(std::cosh(r)) / 4) * 2;
  EXPECT_GT(comparison.error, 10 * without);
  EXPECT_LE(comparison.error, comparison.bound);
}

TEST(FarBound, CountsTheRoundingOfValues) {
  Case setup{.rule = rule_of(16, 16, 0, 2), .dtype = DType::bf16};
  setup.keys.assign(32, 1.0);
  setup.values.assign(16, 1.0);
  setup.values[15] = 1 + 0x1p-7;
  setup.values.resize(32, -1.0);
  const FarComparison comparison = setup.compare({1});  // r is 0
  EXPECT_NEAR(comparison.error, 0.5 * 0x1p-7 / 16, 1e-12);
  EXPECT_NEAR(comparison.bound, comparison.error, 1e-12);
}

TEST(FarHistoryIsExact, WhereAllKeysOfAnEntryAreEqual) {
  RandomStream random(4, "far equal keys");
  for (int i = 0; i < 300; ++i) {
    Case setup = draw_case(random);
    setup.dtype = DType::f32;
    // The same key at every position that can be summarised; values stay as they are.
    Vector key;
    append_random(random, 1, setup, key);
    const std::size_t end = setup.far().summarised_end();
    for (std::size_t p = setup.rule.sink_tokens; p < end; ++p) {
      std::copy(key.begin(), key.end(),
                setup.keys.begin() + static_cast<std::ptrdiff_t>(p * setup.head_dim));
    }
    const FarComparison comparison = setup.compare(draw_query(random, setup));
    ASSERT_LT(comparison.error, 1e-5);
    ASSERT_LT(comparison.bound, 1e-5);
    ASSERT_LE(comparison.error, comparison.bound + comparison.noise);
  }
}

TEST(FarHistoryIsExact, ToTheBitWhereEntriesAreSinglePositions) {
  RandomStream random(5, "far single");
  for (int i = 0; i < 100; ++i) {
    Case setup = draw_case(random);
    setup.rule = rule_of(1, 1, static_cast<std::uint32_t>(random.below(setup.positions() - 1)),
                         setup.positions());
    const Vector query = draw_query(random, setup);
    const ReferenceFarHistory far = setup.far();
    ASSERT_EQ(far.entries().size(), setup.positions() - 1 - setup.rule.sink_tokens);
    RuledAttention attention(setup.history(), far);
    Vector output(setup.head_dim);
    attention.attend(query, nullptr, output);
    Vector weights;
    Vector exact(setup.head_dim);
    reference_attention(query, setup.history(), weights, exact);
    ASSERT_EQ(output, exact);
    ASSERT_EQ(setup.compare(query).bound, 0);
  }
}

TEST(ShadowErrorCount, SumsMaximaAndTheWorstRatio) {
  ShadowError shadow;
  count_comparison({.error = 2, .bound = 2.5, .noise = 0}, shadow);
  count_comparison({.error = 1, .bound = 4, .noise = 0}, shadow);
  count_comparison({.error = 1e-13, .bound = 0, .noise = 1e-12}, shadow);
  EXPECT_EQ(shadow.outputs, 3U);
  EXPECT_EQ(shadow.error_max, 2);
  EXPECT_NEAR(shadow.error_sum, 3, 1e-9);
  EXPECT_EQ(shadow.bound_max, 4);
  EXPECT_EQ(shadow.bound_sum, 6.5);
  EXPECT_EQ(shadow.error_over_bound_max, 0.8);
  count_comparison({.error = 1, .bound = 0, .noise = 1e-12}, shadow);
  EXPECT_TRUE(std::isinf(shadow.error_over_bound_max));
}

}  // namespace
}  // namespace kvrm
