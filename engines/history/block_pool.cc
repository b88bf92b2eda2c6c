#include "engines/history/block_pool.h"

#include <algorithm>

#include "harness/base/mutation.h"

namespace kvrm {

BlockPool::BlockPool(const PoolSpec& spec)
    : uses_(spec.blocks),
      details_(spec.blocks),
      generations_(spec.counts_generations ? spec.blocks : 0),
      free_list_(make_free_list(spec.placement, spec.moves_runs, {uses_.data(), uses_.size()})),
      quarantine_(spec.blocks),
      scratch_(spec.blocks) {
  copies_.reserve(spec.blocks);
}

void BlockPool::take(BlockIndex after, std::span<BlockIndex> out) {
  free_list_->take(after, out);
  count_taken(out);
}

void BlockPool::count_taken(std::span<const BlockIndex> blocks) {
  counters_.blocks_taken += blocks.size();
  if (generations_.size() == 0) return;
  for (const BlockIndex block : blocks) {
    generations_[block] =
        KVRM_MUTATE(pager_generation_wraps, generations_[block] + 1, (generations_[block] + 1) % 4);
  }
}

void BlockPool::share(BlockIndex block) {
  const std::uint32_t before = word(block);
  const std::uint32_t owners = before & BlockDetail::kOwners;
  KVRM_CHECK(owners > 0 && owners < BlockDetail::kOwners);
  set_word(block, before + KVRM_MUTATE(pager_share_uncounted, 1, 0));
}

void BlockPool::set_note(BlockIndex block, std::uint32_t note) {
  const std::uint32_t before = word(block);
  KVRM_CHECK(before != 0);
  if (note == 0) {
    if ((before & BlockDetail::kNoted) != 0) set_word(block, before & ~BlockDetail::kNoted);
    return;
  }
  set_word(block, before | BlockDetail::kNoted);
  details_[block].note = note;
}

std::uint32_t BlockPool::drop(std::span<const BlockIndex> blocks) {
  const BlockUse* const uses = uses_.data();
  std::size_t i = 0;
  while (i < blocks.size() && uses[blocks[i]] == BlockUse::owned) ++i;
  if (i < blocks.size()) return drop_some_special(blocks);
  retire(blocks, BlockUse::owned);
  return static_cast<std::uint32_t>(blocks.size());
}

std::uint32_t BlockPool::drop_some_special(std::span<const BlockIndex> blocks) {
  std::uint32_t orphans = 0;
  std::size_t retired = 0;
  for (const BlockIndex block : blocks) {
    BlockUse& use = uses_[block];
    if (BlockUse::owned < use && use < BlockUse::special) {
      use = BlockUse{static_cast<std::uint8_t>(static_cast<std::uint8_t>(use) - 1)};
      continue;
    }
    orphans += owners(block) <= KVRM_MUTATE(pager_shared_block_is_orphan, 1U, 2U) ? 1 : 0;
    retired = drop_one(block, retired);
  }
  retire(std::span(scratch_).first(retired), BlockUse::returned);
  return orphans;
}

std::size_t BlockPool::drop_one(BlockIndex block, std::size_t retired) {
  KVRM_CHECK(owners(block) > 0);
  std::uint32_t left = word(block) - 1;
  if ((left & BlockDetail::kOwners) == 0) left &= ~BlockDetail::kNoted;
  set_word(block, left);
  if (left != BlockDetail::kDestination) {
    if (left == 0) scratch_[retired++] = block;
    return retired;
  }
  const BlockIndex source = cancel_copy(block);
  scratch_[retired++] = block;
  return KVRM_MUTATE(pager_cancelled_copy_keeps_pin, unpin(source, retired), retired);
}

void BlockPool::move_run(BlockRun from, BlockIndex first) {
  free_list_->take_run({first, from.blocks});
  for (std::uint32_t i = 0; i < from.blocks; ++i) {
    const BlockIndex source = from.first + i;
    const BlockIndex destination = first + i;
    KVRM_CHECK(is_movable(source));
    count_taken({&destination, 1});
    queue_copy(source, destination);
    set_note(source, 0);
    set_word(source, word(source) - 1);  // pinned until the copies are cleared
  }
}

void BlockPool::queue_copy(BlockIndex source, BlockIndex destination) {
  KVRM_CHECK(is_movable(destination));
  if (KVRM_MUTATE(pager_copies_from_a_copy, (word(source) & BlockDetail::kDestination) != 0, false))
    source = copies_[details_[source].copy_use].source;
  KVRM_CHECK_NE(source, destination);
  const std::uint32_t before = word(source);
  KVRM_CHECK(before != 0 && (before & BlockDetail::kDestination) == 0);
  if ((before & BlockDetail::kSource) == 0) details_[source].copy_use = 0;
  set_word(source, before | BlockDetail::kSource);
  ++details_[source].copy_use;
  set_word(destination, word(destination) | BlockDetail::kDestination);
  details_[destination].copy_use = static_cast<std::uint32_t>(copies_.size());
  copies_.push_back({source, destination});
}

// Returns the source, which is still pinned.
BlockIndex BlockPool::cancel_copy(BlockIndex destination) {
  const std::uint32_t index = details_[destination].copy_use;
  KVRM_CHECK_EQ(copies_[index].destination, destination);
  const BlockIndex source = copies_[index].source;
  copies_[index] = copies_.back();
  details_[copies_[index].destination].copy_use =
      KVRM_MUTATE(pager_copy_index_stale, index, index + 1);
  copies_.pop_back();
  set_word(destination, word(destination) & ~BlockDetail::kDestination);
  return source;
}

std::size_t BlockPool::unpin(BlockIndex source, std::size_t retired) {
  if (--details_[source].copy_use > 0) return retired;
  set_word(source, word(source) & ~BlockDetail::kSource);
  if (word(source) == 0) scratch_[retired++] = source;
  return retired;
}

void BlockPool::clear_copies() {
  std::size_t retired = 0;
  for (const BlockMove& copy : copies_) {
    set_word(copy.destination, word(copy.destination) & ~BlockDetail::kDestination);
    retired = unpin(copy.source, retired);
  }
  copies_.clear();
  retire(std::span(scratch_).first(retired), BlockUse::returned);
}

void BlockPool::retire(std::span<const BlockIndex> blocks, BlockUse before) {
  counters_.blocks_given_back += blocks.size();
  if (begun_ == completed_) {
    free_list_->give(blocks, before);
    return;
  }
  counters_.blocks_quarantined += blocks.size();
  for (const BlockIndex block : blocks) {
    KVRM_CHECK(uses_[block] == before);
    uses_[block] = BlockUse::returned;
    const std::uint64_t end = std::uint64_t{quarantine_begin_} + quarantine_size_;
    quarantine_[end < quarantine_.size() ? end : end - quarantine_.size()] = {
        KVRM_MUTATE(pager_fence_of_oldest_step, begun_, completed_ + 1), block};
    quarantine_size_ += KVRM_MUTATE(pager_quarantine_forgets_nth, 1U, begun_ % 64 == 63 ? 0U : 1U);
  }
}

void BlockPool::begin_step(Epoch epoch) {
  KVRM_CHECK_LT(begun_, epoch);
  begun_ = epoch;
}

void BlockPool::complete_step(Epoch epoch) {
  KVRM_CHECK_LE(completed_, epoch);
  KVRM_CHECK_LE(epoch, begun_);
  completed_ = epoch;
  std::size_t count = 0;
  while (quarantine_size_ > 0 &&
         quarantine_[quarantine_begin_].fence <= KVRM_MUTATE(pager_fence_early, epoch, epoch + 1)) {
    scratch_[count++] = quarantine_[quarantine_begin_].block;
    const std::size_t end = quarantine_.size() - KVRM_MUTATE(pager_quarantine_ring_end, 0U, 1U);
    if (++quarantine_begin_ == end) quarantine_begin_ = 0;
    --quarantine_size_;
  }
  if (count > 0) free_list_->give(std::span(scratch_).first(count), BlockUse::returned);
}

std::size_t BlockPool::bytes() const {
  return free_list_->bytes() + uses_.bytes() + details_.bytes() + generations_.bytes() +
         copies_.capacity() * sizeof(BlockMove) + quarantine_.size() * sizeof(Quarantined) +
         scratch_.size() * sizeof(BlockIndex);
}

std::string BlockPool::check_invariants(std::span<const std::uint32_t> held) const {
  for (BlockIndex block = 0; block < blocks(); ++block) {
    const std::string name = "block " + std::to_string(block);
    if (held[block] != owners(block)) return name + " has a wrong reference count";
    if (uses_[block] == BlockUse::special && details_[block].word <= kMostPlainOwners)
      return name + " is not special";
  }
  std::string broken = check_sets();
  return broken.empty() ? check_copies() : broken;
}

// Sets, not counts: a block in two places keeps every count right.
std::string BlockPool::check_sets() const {
  std::vector<std::uint32_t> places(blocks());
  if (blocks() == 0) return "a pool without blocks";
  const std::vector<BlockIndex> free = free_list_->list();
  if (free.size() != free_list_->count()) return "the free list's count is not its size";
  for (const BlockIndex block : free) {
    if (uses_[block] != BlockUse::free) return "a block in the free list is not free";
    ++places[block];
  }
  for (std::uint32_t i = 0; i < quarantine_size_; ++i) {
    const Quarantined& entry = quarantine_[(std::uint64_t{quarantine_begin_} + i) % blocks()];
    if (entry.fence <= completed_) return "a quarantined block has outlived its fence";
    if (uses_[entry.block] != BlockUse::returned) return "a quarantined block is not given back";
    ++places[entry.block];
  }
  for (BlockIndex block = 0; block < blocks(); ++block) {
    // Live or pinned: exactly where something refers to it.
    places[block] += is_taken(block) ? 1 : 0;
    if (places[block] != 1) {
      return "block " + std::to_string(block) + " is in " + std::to_string(places[block]) + " sets";
    }
  }
  return {};
}

std::string BlockPool::check_copies() const {
  std::vector<std::uint32_t> pins(blocks());
  std::vector<std::uint32_t> targets(blocks());
  for (std::uint32_t i = 0; i < copies_.size(); ++i) {
    ++pins[copies_[i].source];
    ++targets[copies_[i].destination];
    if (details_[copies_[i].destination].copy_use != i)
      return "a queued copy is not found by its block";
  }
  for (BlockIndex block = 0; block < blocks(); ++block) {
    const std::string name = "block " + std::to_string(block);
    const std::uint32_t flags = word(block);
    if (targets[block] > 1) return name + " is the destination of two queued copies";
    if (targets[block] == 1 && pins[block] > 0) return name + " is in two queued copies";
    if (((flags & BlockDetail::kDestination) != 0) != (targets[block] == 1))
      return name + ": destination";
    if (((flags & BlockDetail::kSource) != 0) != (pins[block] > 0)) return name + ": source";
    if (pins[block] > 0 && details_[block].copy_use != pins[block])
      return name + ": wrong pin count";
    if (targets[block] == 1 && owners(block) == 0) return name + " is copied to for nobody";
  }
  return {};
}

}  // namespace kvrm
