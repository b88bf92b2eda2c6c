#include "engines/descriptor/descriptor_bench.h"

#include <fmt/format.h>

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engines/descriptor/step_descriptor.h"
#include "engines/transport/group_table.h"
#include "harness/base/check.h"
#include "harness/base/prng.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kBlockTokens = 16;
constexpr std::uint32_t kChunkTokens = 256;

enum class Design : std::uint8_t {
  plain_step,
  plain_step_cold,
  replace_tenth,
  replace_tenth_runs,
  full_commit
};

struct Shape {
  Design design = Design::plain_step;
  std::uint32_t batch = 0;
  std::uint32_t context = 0;  // the longest history; all are within their steps + a block of it
  std::uint32_t steps = 0;

  // Untimed ones before those: building the batch drives out of the caches, at 32K of context, what
  // the first two steps of each slot that need a block write. The cold row has them in.
  std::uint32_t warm_steps() const { return design == Design::plain_step ? 2 * kBlockTokens : 0; }
};

StepLimits limits_of(const Shape& shape) {
  StepLimits limits{.shape = {.slots = shape.batch,
                              .max_blocks = shape.context / kBlockTokens,
                              .max_chunks = shape.context / kChunkTokens,
                              .extra_block_copies = 64,
                              .max_stage_copies = 4 * shape.batch},
                    .pool_blocks = 2 * shape.batch * (shape.context / kBlockTokens),
                    .block_tokens = kBlockTokens,
                    .max_length = shape.context,
                    .max_position = shape.context,
                    .vocabulary = 32000};
  if (shape.design != Design::full_commit) {
    limits.max_table_bytes = default_max_table_bytes(limits.shape);
  }
  return limits;
}

// A history that takes a slot.
struct Replacement {
  SlotIndex slot = 0;
  std::uint32_t length = 0;
  std::span<const BlockIndex> table;
};

// A batch of histories whose blocks lie anywhere in the pool: the worst case, where every block is
// a group of its own. In `replace_tenth_runs` all have runs of 16 to begin with.
class Batch {
 public:
  Batch(const Shape& shape, Device& device)
      : shape_(shape),
        limits_(limits_of(shape)),
        clock_(device.clock()),
        random_(1, "descriptor_bench"),
        descriptor_(make_descriptor(device)),
        groups_({.slots = shape.batch,
                 .max_blocks = limits_.shape.max_blocks,
                 .block_tokens = kBlockTokens,
                 .chunk_tokens = kChunkTokens,
                 .policy = {}}),
        length_(shape.batch),
        block_(shape.batch),
        crossing_(shape.batch + 1),
        sampled_(shape.batch, 7),
        blocks_(shuffled(1)),
        runs_(shape.design == Design::replace_tenth_runs ? shuffled(16)
                                                         : std::vector<BlockIndex>()) {
    descriptor_.append_apply(apply_, sampled_.data());
    for (SlotIndex slot = 0; slot < shape.batch; ++slot) {
      replace(draw(slot, runs_.empty() ? blocks_ : runs_));
      if (slot % 256 == 255 || slot + 1 == shape.batch) commit_and_apply();
    }
  }

  BenchSample measure() {
    BenchSample sample{.operations = std::uint64_t{shape_.steps} * shape_.batch};
    for (std::uint32_t step = 0; step < shape_.warm_steps() + shape_.steps; ++step) {
      draw_replacements(step);
      const Nanoseconds start = clock_.now();
      build(step);
      const CommitResult commit = descriptor_.commit();
      if (step >= shape_.warm_steps()) sample.elapsed += clock_.now() - start;
      KVRM_CHECK((commit.kind == CommitKind::full) == (shape_.design == Design::full_commit));
      apply();
    }
    return sample;
  }

 private:
  StepDescriptor make_descriptor(Device& device) const {
    auto descriptor = StepDescriptor::make(limits_, device);
    KVRM_CHECK(descriptor.has_value());
    return std::move(*descriptor);
  }

  // Every block of the pool once, in runs of `run`.
  std::vector<BlockIndex> shuffled(std::uint32_t run) {
    std::vector<BlockIndex> starts(limits_.pool_blocks / run);
    for (std::uint32_t i = 0; i < starts.size(); ++i) starts[i] = i * run;
    for (std::size_t i = starts.size(); i > 1; --i)
      std::swap(starts[i - 1], starts[random_.below(i)]);
    std::vector<BlockIndex> blocks;
    blocks.reserve(limits_.pool_blocks);
    for (const BlockIndex start : starts) {
      for (std::uint32_t i = 0; i < run; ++i) blocks.push_back(start + i);
    }
    return blocks;
  }

  void build(std::uint32_t step) {
    descriptor_.builder().advance();
    const bool replaces = !replacements_.empty();
    // Without a branch for every slot: which ones cross a border cannot be predicted.
    std::size_t crossing = 0;
    for (SlotIndex slot = 0; slot < shape_.batch; ++slot) {
      crossing_[crossing] = slot;
      crossing += length_[slot]++ % kBlockTokens == 0 ? 1 : 0;
    }
    constexpr std::size_t kAhead = 6;
    for (std::size_t i = 0; i < crossing; ++i) {
      if (i + kAhead < crossing) prefetch(crossing_[i + kAhead]);
      if (!replaces || crossing_[i] % 10 != step % 10) cross(crossing_[i]);
    }
    for (const Replacement& replacement : replacements_) replace(replacement);
  }

  void prefetch(SlotIndex slot) const {
    groups_.prefetch(slot);
    descriptor_.builder().prefetch_group(slot, groups_.groups(slot));
  }

  // The slot's new position is the first of a block.
  void cross(SlotIndex slot) {
    block_[slot] = blocks_[next_block_];
    next_block_ = next_block_ + 1 < blocks_.size() ? next_block_ + 1 : 0;
    edits_.clear();
    groups_.append(slot, {&block_[slot], 1}, edits_);
    descriptor_.builder().edit_tables(edits_);
    edit_slot(slot, 0);
  }

  // Draws which history takes the slot, as long as any of them was at the start; not timed.
  Replacement draw(SlotIndex slot, const std::vector<BlockIndex>& from) {
    const std::uint32_t room =
        kBlockTokens * ((shape_.warm_steps() + shape_.steps) / kBlockTokens + 2);
    const auto length =
        shape_.context - room + 1 + static_cast<std::uint32_t>(random_.below(kBlockTokens));
    const std::uint32_t blocks = (length + kBlockTokens - 1) / kBlockTokens;
    const auto first = random_.below(from.size() - blocks) / kBlockTokens * kBlockTokens;
    return {slot, length, std::span(from).subspan(first, blocks)};
  }
  void draw_replacements(std::uint32_t step) {
    replacements_.clear();
    if (shape_.design != Design::replace_tenth && runs_.empty()) return;
    for (SlotIndex slot = step % 10; slot < shape_.batch; slot += 10) {
      replacements_.push_back(draw(slot, runs_.empty() ? blocks_ : runs_));
    }
  }

  void replace(const Replacement& replacement) {
    const SlotIndex slot = replacement.slot;
    length_[slot] = replacement.length;
    block_[slot] = replacement.table.back();
    edits_.clear();
    groups_.replace(slot, replacement.table, edits_);
    descriptor_.builder().edit_tables(edits_);
    edit_slot(slot, kTokenGiven);
  }

  void edit_slot(SlotIndex slot, std::uint32_t token_given) {
    const std::uint32_t position = length_[slot] - 1;
    descriptor_.builder().edit_slot(
        {.slot = slot,
         .flags = kSlotActive | token_given,
         .token = token_given != 0 ? 11 : kNoToken,
         .position = position,
         .length = length_[slot],
         .write_slot = std::uint64_t{block_[slot]} * kBlockTokens + position % kBlockTokens,
         .content_key = slot});
  }

  void apply() {
    WorkerContext worker;
    const Op& op = apply_.ops()[0];
    op.kernel->host(op.args, 0, worker);
    KVRM_CHECK_EQ(std::string(apply_status_name(descriptor_.status())), "ok");
  }
  void commit_and_apply() {
    descriptor_.commit();
    apply();
  }

  Shape shape_;
  StepLimits limits_;
  Clock& clock_;
  RandomStream random_;
  StepDescriptor descriptor_;
  GroupTable groups_;
  OpList apply_;
  TableEdits edits_;
  std::vector<std::uint32_t> length_;  // [slots]
  std::vector<BlockIndex> block_;      // [slots] the last of each history
  std::vector<SlotIndex> crossing_;    // scratch
  std::vector<TokenId> sampled_;
  std::vector<BlockIndex> blocks_;
  std::vector<BlockIndex> runs_;  // empty but for replace_tenth_runs
  std::size_t next_block_ = 0;
  std::vector<Replacement> replacements_;  // of the step
};

BenchSample run_once(const Registry& registry, const Shape& shape) {
  const auto device = registry.backends.front().make(
      {.kind = registry.backends.front().kind, .profile = "", .workers = 1});
  KVRM_CHECK(device.has_value());
  return Batch(shape, **device).measure();
}

std::string context_name(std::uint32_t context) { return fmt::format("{}K", context / 1024); }

Result<std::vector<BenchCase>> descriptor_cases(const Registry& registry, BenchSize size) {
  constexpr std::pair<Design, const char*> kDesigns[] = {
      {Design::plain_step, "plain_step"},
      {Design::plain_step_cold, "plain_step_cold"},
      {Design::replace_tenth, "replace_tenth"},
      {Design::replace_tenth_runs, "replace_tenth_runs"},
      {Design::full_commit, "full_commit"}};
  if (registry.backends.empty()) return bad_input("suite descriptor: there is no backend");
  const bool tiny = size == BenchSize::tiny;
  std::vector<BenchCase> cases;
  for (const auto& [design, name] : kDesigns) {
    for (const std::uint32_t batch : {256U, 4096U}) {
      for (const std::uint32_t context : {1024U, 4096U, 32768U}) {
        if (tiny && (batch > 256 || context > 1024)) continue;
        const std::uint32_t steps = tiny || design == Design::full_commit ? 4 : 64;
        const Shape shape{design, batch, context, steps};
        cases.push_back({.suite = "descriptor",
                         .design = name,
                         .shape = fmt::format("batch-{}-ctx-{}", batch, context_name(context)),
                         .threads = 1,
                         .measure = [&registry, shape] { return run_once(registry, shape); }});
      }
    }
  }
  return cases;
}

}  // namespace

BenchSuite descriptor_suite() {
  return {"descriptor", "host side of a step descriptor: groups, record, commit; ns a slot",
          descriptor_cases};
}

}  // namespace kvrm
