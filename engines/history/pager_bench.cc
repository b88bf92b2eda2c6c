#include "engines/history/pager_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "engines/history/block_pager.h"
#include "engines/history/block_pool.h"
#include "harness/base/check.h"
#include "harness/base/huge_array.h"
#include "harness/base/prng.h"
#include "harness/device/clock.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kBlockTokens = 16;
constexpr std::uint32_t kSampleOperations = 1U << 17;  // of append and alloc_free, at most
constexpr std::uint32_t kAppendBlocks = 128;           // of each history at the end
constexpr std::uint32_t kForkTokens = 520;             // ends in a partly filled block
constexpr std::uint32_t kCompactBlocks = 64;           // of each history, before some leave
constexpr std::uint32_t kCompactBudget = 64;           // blocks a step
constexpr std::uint32_t kCompactSteps = 32;

struct NamedPlacement {
  std::string_view name;
  Placement placement;
};
constexpr NamedPlacement kPlacements[] = {{"lifo", Placement::lifo},
                                          {"address_ordered", Placement::address_ordered},
                                          {"extent", Placement::extent}};

using Histories = std::vector<HistoryHandle>;

void shuffle(std::vector<std::uint32_t>& values, RandomStream& random) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
}

std::vector<std::uint32_t> shuffled(std::uint32_t count, std::string_view purpose) {
  std::vector<std::uint32_t> values(count);
  for (std::uint32_t i = 0; i < count; ++i) values[i] = i;
  RandomStream random(1, purpose);
  shuffle(values, random);
  return values;
}

void check_ok(PagerOutcome outcome) { KVRM_CHECK(outcome == PagerOutcome::ok); }

Histories open_all(BlockPager& pager, std::uint32_t count) {
  Histories histories;
  for (std::uint32_t i = 0; i < count; ++i) histories.push_back(*pager.open());
  return histories;
}

void close_in_disorder(BlockPager& pager, const Histories& histories, std::string_view purpose) {
  for (const std::uint32_t i : shuffled(static_cast<std::uint32_t>(histories.size()), purpose)) {
    check_ok(pager.close(histories[i]));
  }
}

// A pool as a long run leaves it: every history grew a block at a time beside all others, and they
// ended in any order.
void churn(BlockPager& pager) {
  const Histories histories = open_all(pager, pager.spec().max_histories);
  for (std::uint32_t block = 0; block < pager.spec().max_blocks_per_history; ++block) {
    for (const HistoryHandle history : histories) check_ok(pager.append(history, kBlockTokens));
  }
  close_in_disorder(pager, histories, "churn");
}

// One token a history and step. Histories begin at different places in their first block, so that
// every step allocates for one in sixteen. Samples are short, so that few of them are interrupted;
// histories that are full end, and others begin, between them. measure() and measure_cold() differ
// as those of AllocFree.
struct Append {
  Append(std::uint32_t batch, Placement placement)
      : pager({.blocks = batch * kAppendBlocks,
               .block_tokens = kBlockTokens,
               .max_histories = batch,
               .max_blocks_per_history = kAppendBlocks,
               .placement = placement}) {
    churn(pager);
  }
  BenchSample measure() {
    measure_cold();
    return measure_cold();
  }
  BenchSample measure_cold() {
    const std::uint32_t batch = pager.spec().max_histories;
    const std::uint32_t steps = std::min(kSampleOperations / batch, kMostSteps);
    if (histories.empty() || pager.length(histories.back()) + steps > kAppendTokens) begin_anew();
    const SteadyClock clock;
    const Nanoseconds start = clock.now();
    for (std::uint32_t step = 0; step < steps; ++step) {
      for (const HistoryHandle history : histories) check_ok(pager.append(history, 1));
    }
    return {.elapsed = clock.now() - start, .operations = std::uint64_t{steps} * batch};
  }
  void begin_anew() {
    close_in_disorder(pager, histories, "append");
    histories = open_all(pager, pager.spec().max_histories);
    for (std::uint32_t i = 0; i < histories.size(); ++i) {
      check_ok(pager.append(histories[i], 1 + i % kBlockTokens));
    }
  }
  static constexpr std::uint32_t kAppendTokens = kAppendBlocks * kBlockTokens;
  static constexpr std::uint32_t kMostSteps = kAppendTokens - kBlockTokens;
  BlockPager pager;
  Histories histories;
};

struct PoolShape {
  std::string name;
  std::uint32_t blocks = 0;
  std::uint32_t live = 0;
  std::uint32_t group_blocks = 0;
  std::uint32_t history_blocks = 0;
};

// Goes through `count` victims in a random order, a few in each sample.
class Victims {
 public:
  explicit Victims(std::uint32_t count) : order_(shuffled(count, "victims")) {}
  std::span<const std::uint32_t> next(std::size_t count) {
    count = std::min(count, order_.size());
    if (next_ + count > order_.size()) next_ = 0;
    next_ += count;
    return std::span(order_).subspan(next_ - count, count);
  }

 private:
  std::vector<std::uint32_t> order_;
  std::size_t next_ = 0;
};

// What a history's end and the growth of others ask of the pool: a group of live blocks that lie
// anywhere in the pool goes, and as many are handed out. Groups of 1 are single random victims. An
// operation is one block freed and one allocated.
//
// Between two samples the other cases of the suite run, and leave little of this pool in the
// caches. So measure() first goes over all of it untimed; measure_cold() finds it as it is.
struct AllocFree {
  AllocFree(const PoolShape& shape, Placement placement, std::uint32_t group_blocks)
      : pool({.blocks = shape.blocks, .placement = placement}),
        live(shape.live),
        group(group_blocks),
        victims(shape.live / group_blocks) {
    std::vector<BlockIndex> all = shuffled(shape.blocks, "live");
    std::vector<BlockIndex> taken(shape.blocks);
    pool.take(kNoBlock, taken);
    std::copy_n(all.begin(), shape.live, live.data());
    for (std::uint32_t i = shape.live; i < shape.blocks; ++i) pool.drop({&all[i], 1});
  }
  BenchSample measure() {
    for (std::size_t done = 0; done < live.size(); done += kSampleOperations) measure_cold();
    return measure_cold();
  }
  BenchSample measure_cold() {
    const std::span<const std::uint32_t> groups = victims.next(kSampleOperations / group);
    const SteadyClock clock;
    const Nanoseconds start = clock.now();
    for (const std::uint32_t victim : groups) {
      const std::span<BlockIndex> blocks(&live[std::size_t{victim} * group], group);
      pool.drop(blocks);
      pool.take(kNoBlock, blocks);
    }
    return {.elapsed = clock.now() - start, .operations = std::uint64_t{groups.size()} * group};
  }
  BlockPool pool;
  HugeArray<BlockIndex> live;
  std::uint32_t group = 0;
  Victims victims;
};

// The same through histories, with their tables: a random one ends and another of its length
// begins.
struct HistoryAllocFree {
  HistoryAllocFree(const PoolShape& shape, Placement placement)
      : pager({.blocks = shape.blocks,
               .block_tokens = kBlockTokens,
               .max_histories = shape.blocks / shape.history_blocks,
               .max_blocks_per_history = shape.history_blocks,
               .placement = placement}),
        blocks(shape.history_blocks),
        victims(shape.live / shape.history_blocks) {
    churn(pager);
    histories = open_all(pager, shape.live / shape.history_blocks);
    for (std::uint32_t block = 0; block < blocks; ++block) {
      for (const HistoryHandle history : histories) check_ok(pager.append(history, kBlockTokens));
    }
  }
  BenchSample measure() {
    const std::span<const std::uint32_t> ending = victims.next(kSampleOperations / blocks);
    const SteadyClock clock;
    const Nanoseconds start = clock.now();
    for (const std::uint32_t victim : ending) {
      check_ok(pager.close(histories[victim]));
      histories[victim] = *pager.open();
      check_ok(pager.append(histories[victim], blocks * kBlockTokens));
    }
    return {.elapsed = clock.now() - start, .operations = std::uint64_t{ending.size()} * blocks};
  }
  BlockPager pager;
  std::uint32_t blocks = 0;
  Histories histories;
  Victims victims;
};

// Every history forks once, the fork writes its first token into a copy of the shared tail, the
// step takes the copies, and the forks close. An operation is one fork's whole life.
struct ForkCow {
  explicit ForkCow(std::uint32_t batch)
      : pager({.blocks = 2 * batch * (kForkTokens / kBlockTokens + 1),
               .block_tokens = kBlockTokens,
               .max_histories = 2 * batch,
               .max_blocks_per_history = kForkTokens / kBlockTokens + 1}),
        parents(open_all(pager, batch)) {
    for (const HistoryHandle parent : parents) check_ok(pager.append(parent, kForkTokens));
  }
  BenchSample measure() {
    const SteadyClock clock;
    const Nanoseconds start = clock.now();
    children.clear();
    for (const HistoryHandle parent : parents) {
      children.push_back(*pager.fork(parent, kForkTokens));
      check_ok(pager.append(children.back(), 1));
    }
    pager.begin_step(++epoch);
    KVRM_CHECK_EQ(pager.copies().size(), parents.size());
    pager.clear_copies();
    pager.complete_step(epoch);
    for (const HistoryHandle child : children) check_ok(pager.close(child));
    return {.elapsed = clock.now() - start, .operations = parents.size()};
  }
  BlockPager pager;
  Histories parents;
  Histories children;
  Epoch epoch = 0;
};

// Steps that compact a pool in which every fifth history has ended, and nothing else. An operation
// is one call.
BenchSample compact(std::uint32_t batch) {
  BlockPager pager({.blocks = batch * kCompactBlocks,
                    .block_tokens = kBlockTokens,
                    .max_histories = batch,
                    .max_blocks_per_history = kCompactBlocks,
                    .compacts = true});
  churn(pager);
  const Histories histories = open_all(pager, batch);
  for (std::uint32_t block = 0; block < kCompactBlocks; ++block) {
    for (const HistoryHandle history : histories) check_ok(pager.append(history, kBlockTokens));
  }
  for (std::uint32_t i = 0; i < batch; i += 5) check_ok(pager.close(histories[i]));
  const SteadyClock clock;
  const Nanoseconds start = clock.now();
  for (Epoch step = 1; step <= kCompactSteps; ++step) {
    pager.begin_step(step);
    pager.compact(kCompactBudget);
    pager.clear_copies();
    pager.complete_step(step);
  }
  const Nanoseconds elapsed = clock.now() - start;
  KVRM_CHECK(pager.counters().merged_runs > 0);
  return {.elapsed = elapsed, .operations = kCompactSteps};
}

BenchCase make_case(std::string design, std::string shape, std::function<BenchSample()> measure) {
  return {.suite = "pager",
          .design = std::move(design),
          .shape = std::move(shape),
          .threads = 1,
          .measure = std::move(measure)};
}

std::string design_name(std::string_view operation, const NamedPlacement& with) {
  return with.placement == Placement::lifo ? std::string(operation)
                                           : fmt::format("{}_{}", operation, with.name);
}

template <class State>
BenchCase state_case(std::string design, std::string shape, std::shared_ptr<State> state) {
  return make_case(std::move(design), std::move(shape), [state] { return state->measure(); });
}

void add_pool_cases(const NamedPlacement& with, const PoolShape& shape,
                    std::vector<BenchCase>& cases) {
  cases.push_back(
      state_case(design_name("alloc_free", with), shape.name,
                 std::make_shared<AllocFree>(shape, with.placement, shape.group_blocks)));
  const auto pool = std::make_shared<AllocFree>(shape, with.placement, shape.group_blocks);
  cases.push_back(make_case(design_name("alloc_free_cold", with), shape.name,
                            [pool] { return pool->measure_cold(); }));
  cases.push_back(state_case(design_name("alloc_free_one", with), shape.name,
                             std::make_shared<AllocFree>(shape, with.placement, 1)));
  cases.push_back(state_case(design_name("alloc_free_history", with), shape.name,
                             std::make_shared<HistoryAllocFree>(shape, with.placement)));
}

Result<std::vector<BenchCase>> pager_cases(const Registry&, BenchSize size) {
  const bool tiny = size == BenchSize::tiny;
  const std::vector<std::uint32_t> batches =
      tiny ? std::vector<std::uint32_t>{16} : std::vector<std::uint32_t>{256, 4096};
  const PoolShape pool = tiny ? PoolShape{"pool-1K-live-900", 1000, 900, 10, 10}
                              : PoolShape{"pool-1M-live-900k", 1'000'000, 900'000, 50, 250};
  std::vector<BenchCase> cases;
  for (const NamedPlacement& with : kPlacements) {
    for (const std::uint32_t batch : batches) {
      const std::string shape = fmt::format("batch-{}", batch);
      cases.push_back(state_case(design_name("append", with), shape,
                                 std::make_shared<Append>(batch, with.placement)));
      const auto cold = std::make_shared<Append>(batch, with.placement);
      cases.push_back(make_case(design_name("append_cold", with), shape,
                                [cold] { return cold->measure_cold(); }));
    }
    add_pool_cases(with, pool, cases);
  }
  for (const std::uint32_t batch : batches) {
    const std::string shape = fmt::format("batch-{}", batch);
    cases.push_back(state_case("fork_cow", shape, std::make_shared<ForkCow>(batch)));
    cases.push_back(make_case("compact", shape, [batch] { return compact(batch); }));
  }
  return cases;
}

}  // namespace

BenchSuite pager_suite() { return {"pager", "cost of the block pager's operations", pager_cases}; }

}  // namespace kvrm
