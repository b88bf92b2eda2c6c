// The block pager against a naive model of it: after every operation both are compared and the
// pager's own invariants are checked. Where blocks are placed is not part of the model; that a
// block has one owner and is not handed out before its fence is.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <rapidcheck/state.h>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "engines/history/block_pager.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kHistories = 6;
constexpr std::uint32_t kMaxBlocks = 9;

// How often the rare cases were met over all sequences: a run that never met one proves nothing
// about it.
struct Coverage {
  std::uint64_t exhausted = 0;
  std::uint64_t exhausted_by_quarantine = 0;
  std::uint64_t full_pool = 0;
  std::uint64_t too_long = 0;
  std::uint64_t stale = 0;
  std::uint64_t quarantined = 0;
  std::uint64_t truncated = 0;
};

// What a pager must be after a sequence of operations. Histories have names, in the order of
// opening.
struct Oracle {
  std::uint32_t block_tokens = 0;
  std::uint32_t free = 0;
  std::uint32_t opened = 0;
  std::map<std::uint32_t, std::uint32_t> lengths;          // of open histories
  std::deque<std::pair<Epoch, std::uint32_t>> quarantine;  // fence, blocks
  Epoch begun = 0;
  Epoch completed = 0;

  std::uint32_t blocks_of(std::uint32_t length) const {
    return (length + block_tokens - 1) / block_tokens;
  }
  std::uint32_t quarantined() const {
    std::uint32_t count = 0;
    for (const auto& [fence, blocks] : quarantine) count += blocks;
    return count;
  }
  void give_back(std::uint32_t blocks) {
    if (begun == completed) {
      free += blocks;
    } else {
      quarantine.emplace_back(begun, blocks);
    }
  }
  // The open history at a drawn place; there is one.
  std::uint32_t pick(std::uint32_t draw) const {
    return std::next(lengths.begin(), draw % lengths.size())->first;
  }
  PagerOutcome append(std::uint32_t name, std::uint32_t tokens) {
    std::uint32_t& length = lengths[name];
    const std::uint32_t missing = blocks_of(length + tokens) - blocks_of(length);
    if (blocks_of(length + tokens) > kMaxBlocks) return PagerOutcome::too_long;
    if (missing > free) return PagerOutcome::out_of_blocks;
    free -= missing;
    length += tokens;
    return PagerOutcome::ok;
  }
};

struct System {
  System(const PagerSpec& spec, Coverage& seen) : pager(spec), coverage(seen) {}
  BlockPager pager;
  Coverage& coverage;
  std::vector<HistoryHandle> handles;                       // by name, stale ones included
  std::map<Epoch, std::set<BlockIndex>> may_touch;          // blocks of each step in flight
  std::map<std::uint32_t, std::vector<BlockIndex>> tables;  // as they were last seen
};

void check_tables(const Oracle& oracle, System& system) {
  std::set<BlockIndex> owned;
  for (const auto& [name, length] : oracle.lengths) {
    const HistoryHandle handle = system.handles[name];
    RC_ASSERT(system.pager.length(handle) == length);
    const std::span<const BlockIndex> table = system.pager.table(handle);
    RC_ASSERT(table.size() == oracle.blocks_of(length));
    std::vector<BlockIndex>& before = system.tables[name];
    for (std::size_t i = 0; i < table.size(); ++i) {
      RC_ASSERT(owned.insert(table[i]).second);
      if (i < before.size()) {
        RC_ASSERT(table[i] == before[i]);
        continue;
      }
      // A block that is new in a table is in no step in flight.
      for (const auto& [epoch, blocks] : system.may_touch) RC_ASSERT(!blocks.contains(table[i]));
    }
    before.assign(table.begin(), table.end());
  }
}

void check_all(const Oracle& oracle, System& system) {
  const BlockPager& pager = system.pager;
  RC_ASSERT(pager.check_invariants() == std::string());
  RC_ASSERT(pager.free_blocks() == oracle.free);
  RC_ASSERT(pager.quarantined_blocks() == oracle.quarantined());
  RC_ASSERT(pager.open_histories() == oracle.lengths.size());
  check_tables(oracle, system);
  system.coverage.full_pool += oracle.free == 0 ? 1 : 0;
  system.coverage.quarantined += oracle.quarantined() > 0 ? 1 : 0;
}

// Runs an operation on the pager, then compares with the oracle after the same operation.
class PagerCommand : public rc::state::Command<Oracle, System> {
 public:
  void run(const Oracle& before, System& system) const final {
    act(before, system);
    check_all(nextState(before), system);
  }

 private:
  virtual void act(const Oracle& before, System& system) const = 0;
};

struct Open final : PagerCommand {
  void apply(Oracle& oracle) const override {
    if (oracle.lengths.size() < kHistories) oracle.lengths[oracle.opened++] = 0;
  }
  void act(const Oracle& before, System& system) const override {
    const auto handle = system.pager.open();
    RC_ASSERT(handle.has_value() == (before.lengths.size() < kHistories));
    if (handle) system.handles.push_back(*handle);
  }
  void show(std::ostream& out) const override { out << "open"; }
};

struct Append final : PagerCommand {
  std::uint32_t draw = *rc::gen::inRange(0U, 1000U);
  // Mostly single tokens, as in decoding.
  std::uint32_t tokens = *rc::gen::weightedOneOf<std::uint32_t>(
      {{3, rc::gen::just(1U)}, {1, rc::gen::inRange(1U, 120U)}});

  void checkPreconditions(const Oracle& oracle) const override { RC_PRE(!oracle.lengths.empty()); }
  void apply(Oracle& oracle) const override { oracle.append(oracle.pick(draw), tokens); }
  void act(const Oracle& before, System& system) const override {
    Oracle after = before;
    const std::uint32_t name = before.pick(draw);
    const PagerOutcome expected = after.append(name, tokens);
    RC_ASSERT((system.pager.append(system.handles[name], tokens) == expected));
    Coverage& coverage = system.coverage;
    coverage.too_long += expected == PagerOutcome::too_long ? 1 : 0;
    if (expected == PagerOutcome::out_of_blocks) {
      ++(before.quarantine.empty() ? coverage.exhausted : coverage.exhausted_by_quarantine);
    }
  }
  void show(std::ostream& out) const override { out << "append " << tokens << " to #" << draw; }
};

struct Truncate final : PagerCommand {
  std::uint32_t draw = *rc::gen::inRange(0U, 1000U);
  std::uint32_t keep = *rc::gen::inRange(0U, 1000U);

  void checkPreconditions(const Oracle& oracle) const override { RC_PRE(!oracle.lengths.empty()); }
  std::uint32_t kept(std::uint32_t length) const { return length - keep % (length + 1) / 4; }
  void apply(Oracle& oracle) const override {
    std::uint32_t& length = oracle.lengths[oracle.pick(draw)];
    const std::uint32_t rest = kept(length);
    oracle.give_back(oracle.blocks_of(length) - oracle.blocks_of(rest));
    length = rest;
  }
  void act(const Oracle& before, System& system) const override {
    const std::uint32_t name = before.pick(draw);
    const std::uint32_t length = before.lengths.at(name);
    RC_ASSERT((system.pager.truncate(system.handles[name], kept(length)) == PagerOutcome::ok));
    system.tables[name].resize(before.blocks_of(kept(length)));
    system.coverage.truncated += kept(length) < length ? 1 : 0;
  }
  void show(std::ostream& out) const override { out << "truncate #" << draw << " by " << keep; }
};

struct Close final : PagerCommand {
  std::uint32_t draw = *rc::gen::inRange(0U, 1000U);

  void checkPreconditions(const Oracle& oracle) const override { RC_PRE(!oracle.lengths.empty()); }
  void apply(Oracle& oracle) const override {
    const std::uint32_t name = oracle.pick(draw);
    oracle.give_back(oracle.blocks_of(oracle.lengths[name]));
    oracle.lengths.erase(name);
  }
  void act(const Oracle& before, System& system) const override {
    const std::uint32_t name = before.pick(draw);
    RC_ASSERT((system.pager.close(system.handles[name]) == PagerOutcome::ok));
    system.tables.erase(name);
  }
  void show(std::ostream& out) const override { out << "close #" << draw; }
};

// Everything that a handle could do, done with one whose history is closed; nothing may come of it.
struct UseStale final : PagerCommand {
  std::uint32_t draw = *rc::gen::inRange(0U, 1000U);

  void checkPreconditions(const Oracle& oracle) const override {
    RC_PRE(oracle.opened > oracle.lengths.size());
  }
  void act(const Oracle& before, System& system) const override {
    std::uint32_t name = draw % before.opened;
    while (before.lengths.contains(name)) name = (name + 1) % before.opened;
    const HistoryHandle handle = system.handles[name];
    RC_ASSERT((system.pager.append(handle, 1 + draw % 50) == PagerOutcome::stale_handle));
    RC_ASSERT((system.pager.truncate(handle, 0) == PagerOutcome::stale_handle));
    RC_ASSERT((system.pager.close(handle) == PagerOutcome::stale_handle));
    ++system.coverage.stale;
  }
  void show(std::ostream& out) const override { out << "use stale #" << draw; }
};

struct BeginStep final : PagerCommand {
  void checkPreconditions(const Oracle& oracle) const override {
    RC_PRE(oracle.begun < oracle.completed + 3);
  }
  void apply(Oracle& oracle) const override { ++oracle.begun; }
  void act(const Oracle& before, System& system) const override {
    system.pager.begin_step(before.begun + 1);
    std::set<BlockIndex>& blocks = system.may_touch[before.begun + 1];
    for (const auto& [name, table] : system.tables) blocks.insert(table.begin(), table.end());
  }
  void show(std::ostream& out) const override { out << "begin step"; }
};

struct CompleteStep final : PagerCommand {
  void checkPreconditions(const Oracle& oracle) const override {
    RC_PRE(oracle.completed < oracle.begun);
  }
  void apply(Oracle& oracle) const override {
    ++oracle.completed;
    while (!oracle.quarantine.empty() && oracle.quarantine.front().first <= oracle.completed) {
      oracle.free += oracle.quarantine.front().second;
      oracle.quarantine.pop_front();
    }
  }
  void act(const Oracle& before, System& system) const override {
    system.may_touch.erase(before.completed + 1);
    system.pager.complete_step(before.completed + 1);
  }
  void show(std::ostream& out) const override { out << "complete step"; }
};

// Blocks go back in a drawn order before the sequence starts, so that no policy sees a fresh pool.
void scramble(BlockPager& pager, const std::vector<std::uint32_t>& order) {
  std::vector<HistoryHandle> handles;
  for (std::uint32_t i = 0; i < kHistories; ++i) handles.push_back(*pager.open());
  for (const std::uint32_t draw : order) {
    RC_ASSERT((pager.append(handles[draw % kHistories], 1) != PagerOutcome::stale_handle));
  }
  for (const std::uint32_t draw : order) {
    const HistoryHandle handle = handles[draw % kHistories];
    if (pager.is_open(handle)) RC_ASSERT((pager.close(handle) == PagerOutcome::ok));
  }
  for (const HistoryHandle handle : handles) pager.close(handle);
}

class BlockPagerModel : public ::testing::TestWithParam<Placement> {};

TEST_P(BlockPagerModel, EveryOperationEqualsTheOracle) {
  Coverage coverage;
  const bool holds = rc::check([&] {
    const auto blocks = *rc::gen::element(1U, 7U, 20U, 37U, 64U, 65U, 131U);
    const auto block_tokens = *rc::gen::element(1U, 3U, 7U, 16U, 17U);
    System system({.blocks = blocks,
                   .block_tokens = block_tokens,
                   .max_histories = kHistories,
                   .max_blocks_per_history = kMaxBlocks,
                   .placement = GetParam()},
                  coverage);
    scramble(system.pager,
             *rc::gen::container<std::vector<std::uint32_t>>(60, rc::gen::inRange(0U, 1000U)));
    Oracle oracle;
    oracle.block_tokens = block_tokens;
    oracle.free = blocks;
    const auto commands = *rc::gen::resize(
        400, rc::state::gen::commands(
                 oracle,
                 rc::state::gen::execOneOfWithArgs<Open, Append, Append, Append, Append, Truncate,
                                                   Close, UseStale, BeginStep, CompleteStep>()));
    rc::state::runAll(commands, oracle, system);
  });
  EXPECT_TRUE(holds);
  EXPECT_GT(coverage.exhausted, 0U);
  EXPECT_GT(coverage.exhausted_by_quarantine, 0U);
  EXPECT_GT(coverage.full_pool, 0U);
  EXPECT_GT(coverage.too_long, 0U);
  EXPECT_GT(coverage.stale, 0U);
  EXPECT_GT(coverage.quarantined, 0U);
  EXPECT_GT(coverage.truncated, 0U);
}

std::string placement_name(Placement placement) {
  return placement == Placement::lifo     ? "lifo"
         : placement == Placement::extent ? "extent"
                                          : "address_ordered";
}

INSTANTIATE_TEST_SUITE_P(Placements, BlockPagerModel,
                         ::testing::Values(Placement::lifo, Placement::address_ordered,
                                           Placement::extent),
                         [](const auto& value) { return placement_name(value.param); });

}  // namespace
}  // namespace kvrm
