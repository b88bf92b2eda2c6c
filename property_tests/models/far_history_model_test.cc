// Far history whole: the control plane's updates, run by the kernel on a pool, against the oracle's
// entries, which are made from the positions alone. What a row then attends, read through its view,
// is what the oracle attends, to the bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <vector>

#include "engines/history/far_history.h"
#include "harness/base/prng.h"
#include "kernels/page/kv_element.h"
#include "kernels/page/page.h"
#include "kernels/page/page_kernels.h"
#include "property_tests/oracle/reference_far_history.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kHeads = 2;
constexpr std::uint32_t kHeadDim = 8;
constexpr BlockIndex kRadiiBlock = 0;
constexpr BlockIndex kFirstSummary = 1;

struct FarCase {
  FarHistoryRule rule;
  KvLayout layout;
  std::uint32_t positions = 0;
};

FarCase draw_case(RandomStream& random) {
  const auto below = [&](std::uint64_t bound) {
    return static_cast<std::uint32_t>(random.below(bound));
  };
  FarCase setup;
  const std::uint32_t block = 16 * (1 + below(2));
  const DType dtype = std::vector{DType::f32, DType::f16, DType::bf16}[below(3)];
  setup.layout = {dtype, kHeads, kHeadDim, block};
  setup.rule = {.enabled = true,
                .block_tokens = block,
                .window_tokens = block + below(2 * block),
                .sink_tokens = block * below(3),
                .summaries = 2 + below(18)};
  setup.positions = setup.rule.sink_tokens + setup.rule.window_tokens +
                    block * below(2 * setup.rule.summaries) + 1 + below(block);
  return setup;
}

// One history in a pool of one layer; logical block b lies at first_history() + b.
class PoolHistory {
 public:
  explicit PoolHistory(const FarCase& setup)
      : setup_(setup),
        far_(setup.rule),
        keys_(kHeads),
        values_(kHeads),
        pool_((first_history() + setup.positions / block() + 1) * setup.layout.block_bytes()) {}

  // Appends a position, and does what is due before its query.
  void append(std::uint32_t position, RandomStream& random) {
    const std::uint64_t slot = std::uint64_t{first_history()} * block() + position;
    for (std::uint32_t head = 0; head < kHeads; ++head) {
      for (std::uint32_t dim = 0; dim < kHeadDim; ++dim) {
        write(slot, head, dim, true, random, keys_[head]);
        write(slot, head, dim, false, random, values_[head]);
      }
    }
    std::vector<FarUpdate> updates;
    while (const std::optional<FarChange> change = far_.advance(position)) {
      updates.push_back(
          far_update_record(*change, {.summary_blocks = summaries_, .radii_block = kRadiiBlock},
                            first_history() + change->block, block()));
    }
    run(updates);
  }
  Attended all(std::uint32_t head) const {
    return {.keys = keys_[head], .values = values_[head], .bias = {}};
  }
  const FarHistory& far() const { return far_; }

  // What the view says is attended, entries by age.
  AttendedCopy attended(std::uint32_t head, std::uint32_t position) const {
    const FarView view = far_.view(position, block());
    AttendedCopy found;
    for (std::uint32_t at = 0; at < view.length; ++at) {
      const FarSpan& span = view.span;
      const bool entry = at >= span.first && at < span.first + span.entries;
      if (at >= span.first + span.entries && at < span.window) continue;
      const std::uint32_t index = entry ? span.first + far_.entry_by_age(at - span.first) : at;
      read(head, physical_slot(view, index), found);
      found.bias.push_back(entry ? double{far_.bias(index - span.first)} : 0);
    }
    return found;
  }
  float radius(std::uint32_t head, std::uint32_t entry, bool key) const {
    float radius = 0;
    std::memcpy(&radius,
                pool_.data() + kRadiiBlock * setup_.layout.block_bytes() +
                    head * setup_.layout.head_bytes() + entry * 8 + (key ? 0 : 4),
                sizeof(radius));
    return radius;
  }

 private:
  std::uint32_t block() const { return setup_.rule.block_tokens; }
  BlockIndex first_history() const { return kFirstSummary + 2; }

  void write(std::uint64_t slot, std::uint32_t head, std::uint32_t dim, bool key,
             RandomStream& random, std::vector<double>& copy) {
    const KvLayout& layout = setup_.layout;
    const float value = round_to(layout.dtype, static_cast<float>(random.normal()));
    const auto token = static_cast<std::uint32_t>(slot % block());
    store_element(
        layout.dtype,
        pool_.data() + slot / block() * layout.block_bytes() +
            (key ? layout.key_offset(head, token, dim) : layout.value_offset(head, token, dim)),
        value);
    copy.push_back(value);
  }
  std::uint64_t physical_slot(const FarView& view, std::uint32_t at) const {
    const FarBlock virtual_block = far_block(view, at / block());
    EXPECT_NE(virtual_block.kind, FarBlockKind::padding);
    const BlockIndex physical = virtual_block.kind == FarBlockKind::summary
                                    ? summaries_[virtual_block.index]
                                    : first_history() + virtual_block.index;
    return std::uint64_t{physical} * block() + at % block();
  }
  void read(std::uint32_t head, std::uint64_t slot, AttendedCopy& out) const {
    const std::byte* at = pool_.data() + slot / block() * setup_.layout.block_bytes();
    const auto token = static_cast<std::uint32_t>(slot % block());
    for (std::uint32_t dim = 0; dim < kHeadDim; ++dim) {
      out.keys.push_back(load_key(setup_.layout, at, head, token, dim));
      out.values.push_back(load_value(setup_.layout, at, head, token, dim));
    }
  }
  void run(const std::vector<FarUpdate>& updates) {
    const auto count = static_cast<std::uint32_t>(updates.size());
    const FarUpdateArgs args{
        .layout = setup_.layout, .pool = pool_.data(), .updates = updates.data(), .count = &count};
    std::vector<std::byte> scratch(kWorkerScratchBytes);
    WorkerContext worker{.scratch = scratch};
    for (std::uint32_t head = 0; head < kHeads; ++head) {
      far_update_kernel().host(&args, head, worker);
    }
  }

  const FarCase& setup_;
  FarHistory far_;
  const std::vector<BlockIndex> summaries_ = {kFirstSummary + 1, kFirstSummary};
  std::vector<std::vector<double>> keys_;  // [kHeads], every position
  std::vector<std::vector<double>> values_;
  std::vector<std::byte> pool_;
};

void expect_as_the_oracle(const PoolHistory& history, const FarCase& setup,
                          std::uint32_t position) {
  for (std::uint32_t head = 0; head < kHeads; ++head) {
    ReferenceFarHistory oracle(setup.rule, setup.layout.dtype, kHeadDim);
    oracle.advance(position, history.all(head));
    const AttendedCopy expected = attended_with_far_history(oracle, history.all(head));
    const AttendedCopy found = history.attended(head, position);
    ASSERT_EQ(found.keys, expected.keys);
    ASSERT_EQ(found.values, expected.values);
    ASSERT_EQ(found.bias.size(), expected.bias.size());
    for (std::size_t i = 0; i < found.bias.size(); ++i) {
      ASSERT_NEAR(found.bias[i], expected.bias[i], 1e-6);
    }
    for (std::uint32_t age = 0; age < oracle.entries().size(); ++age) {
      const FarEntry& entry = oracle.entries()[age];
      const std::uint32_t place = history.far().entry_by_age(age);
      ASSERT_GE(history.radius(head, place, true), entry.key_radius);
      ASSERT_LE(history.radius(head, place, true), entry.key_radius * (1 + 1e-5));
      ASSERT_GE(history.radius(head, place, false), entry.value_radius);
      ASSERT_LE(history.radius(head, place, false), entry.value_radius * (1 + 1e-5));
    }
  }
}

TEST(FarHistoryModel, PoolViewAndKernelGiveWhatTheOracleAttends) {
  RandomStream random(1, "far history model");
  int merged = 0;
  int two_summary_blocks = 0;
  for (int i = 0; i < 60; ++i) {
    SCOPED_TRACE(i);
    const FarCase setup = draw_case(random);
    PoolHistory history(setup);
    for (std::uint32_t position = 0; position < setup.positions; ++position) {
      const bool changes = history.far().next_due() <= position;
      history.append(position, random);
      if (!changes && position % 37 != 0) continue;
      ASSERT_NO_FATAL_FAILURE(expect_as_the_oracle(history, setup, position));
    }
    merged += history.far().summarised_blocks() > setup.rule.summaries ? 1 : 0;
    two_summary_blocks += history.far().entries() > setup.rule.block_tokens ? 1 : 0;
  }
  EXPECT_GT(merged, 10);
  EXPECT_GT(two_summary_blocks, 0);
}

}  // namespace
}  // namespace kvrm
