#include "engines/history/block_pool.h"

#include <algorithm>

namespace kvrm {

BlockPool::BlockPool(std::uint32_t blocks, Placement placement)
    : states_(blocks),
      free_list_(make_free_list(placement, {states_.data(), states_.size()})),
      notes_(blocks),
      copy_use_(blocks),
      quarantine_(blocks),
      scratch_(blocks) {
  copies_.reserve(blocks);
}

void BlockPool::take(BlockIndex after, std::span<BlockIndex> out) {
  free_list_->take(after, out);
  BlockState* const states = states_.data();
  for (const BlockIndex block : out) hand_out(states[block]);
  counters_.blocks_taken += out.size();
}

void BlockPool::share(BlockIndex block) {
  KVRM_CHECK(owners(block) > 0 && owners(block) < BlockState::kOwners);
  ++states_[block].word;
}

void BlockPool::set_note(BlockIndex block, std::uint32_t note) {
  KVRM_CHECK(states_[block].is_taken());
  if (note == 0) {
    states_[block].word &= ~BlockState::kNoted;
    return;
  }
  states_[block].word |= BlockState::kNoted;
  notes_[block] = note;
}

std::uint32_t BlockPool::drop(std::span<const BlockIndex> blocks) {
  BlockState* const states = states_.data();
  std::size_t i = 0;
  for (; i < blocks.size() && states[blocks[i]].word == 1; ++i) states[blocks[i]].word = 0;
  if (i < blocks.size()) return drop_some_shared(blocks, i);
  retire(blocks);
  return static_cast<std::uint32_t>(blocks.size());
}

// Of these blocks the first `retired` have lost their only owner already.
std::uint32_t BlockPool::drop_some_shared(std::span<const BlockIndex> blocks, std::size_t retired) {
  std::copy_n(blocks.begin(), retired, scratch_.begin());
  auto orphans = static_cast<std::uint32_t>(retired);
  for (const BlockIndex block : blocks.subspan(retired)) {
    orphans += owners(block) == 1 ? 1 : 0;
    retired = drop_one(block, retired);
  }
  retire(std::span(scratch_).first(retired));
  return orphans;
}

std::size_t BlockPool::drop_one(BlockIndex block, std::size_t retired) {
  KVRM_CHECK(owners(block) > 0);
  std::uint32_t& word = states_[block].word;
  if (owners(block) == 1) word &= ~BlockState::kNoted;
  --word;
  if (word != BlockState::kDestination) {
    if (word == 0) scratch_[retired++] = block;
    return retired;
  }
  const BlockIndex source = cancel_copy(block);
  scratch_[retired++] = block;
  return unpin(source, retired);
}

void BlockPool::move_run(BlockRun from, BlockIndex first) {
  free_list_->take_run({first, from.blocks});
  for (std::uint32_t i = 0; i < from.blocks; ++i) {
    KVRM_CHECK(is_movable(from.first + i));
    hand_out(states_[first + i]);
    queue_copy(from.first + i, first + i);
    set_note(from.first + i, 0);
    --states_[from.first + i].word;  // pinned until the copies are cleared
  }
  counters_.blocks_taken += from.blocks;
}

void BlockPool::queue_copy(BlockIndex source, BlockIndex destination) {
  KVRM_CHECK(is_movable(destination));
  if ((states_[source].word & BlockState::kDestination) != 0)
    source = copies_[copy_use_[source]].source;
  KVRM_CHECK_NE(source, destination);
  BlockState& state = states_[source];
  KVRM_CHECK((state.word & BlockState::kDestination) == 0);
  if ((state.word & BlockState::kSource) == 0) copy_use_[source] = 0;
  state.word |= BlockState::kSource;
  ++copy_use_[source];
  states_[destination].word |= BlockState::kDestination;
  copy_use_[destination] = static_cast<std::uint32_t>(copies_.size());
  copies_.push_back({source, destination});
}

// Returns the source, which is still pinned.
BlockIndex BlockPool::cancel_copy(BlockIndex destination) {
  const std::uint32_t index = copy_use_[destination];
  KVRM_CHECK_EQ(copies_[index].destination, destination);
  const BlockIndex source = copies_[index].source;
  copies_[index] = copies_.back();
  copy_use_[copies_[index].destination] = index;
  copies_.pop_back();
  states_[destination].word &= ~BlockState::kDestination;
  return source;
}

std::size_t BlockPool::unpin(BlockIndex source, std::size_t retired) {
  if (--copy_use_[source] > 0) return retired;
  states_[source].word &= ~BlockState::kSource;
  if (states_[source].word == 0) scratch_[retired++] = source;
  return retired;
}

void BlockPool::clear_copies() {
  std::size_t retired = 0;
  for (const BlockMove& copy : copies_) {
    states_[copy.destination].word &= ~BlockState::kDestination;
    retired = unpin(copy.source, retired);
  }
  copies_.clear();
  retire(std::span(scratch_).first(retired));
}

void BlockPool::retire(std::span<const BlockIndex> blocks) {
  counters_.blocks_given_back += blocks.size();
  if (begun_ == completed_) {
    free_list_->give(blocks);
    return;
  }
  counters_.blocks_quarantined += blocks.size();
  for (const BlockIndex block : blocks) {
    const std::uint64_t end = std::uint64_t{quarantine_begin_} + quarantine_size_;
    quarantine_[end < quarantine_.size() ? end : end - quarantine_.size()] = {begun_, block};
    ++quarantine_size_;
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
  while (quarantine_size_ > 0 && quarantine_[quarantine_begin_].fence <= epoch) {
    scratch_[count++] = quarantine_[quarantine_begin_].block;
    if (++quarantine_begin_ == quarantine_.size()) quarantine_begin_ = 0;
    --quarantine_size_;
  }
  if (count > 0) free_list_->give(std::span(scratch_).first(count));
}

std::size_t BlockPool::bytes() const {
  return free_list_->bytes() + states_.size() * sizeof(BlockState) +
         copies_.capacity() * sizeof(BlockMove) +
         (notes_.size() + copy_use_.size()) * sizeof(std::uint32_t) +
         quarantine_.size() * sizeof(Quarantined) + scratch_.size() * sizeof(BlockIndex);
}

std::string BlockPool::check_invariants(std::span<const std::uint32_t> held) const {
  for (BlockIndex block = 0; block < blocks(); ++block) {
    if (held[block] != owners(block)) {
      return "block " + std::to_string(block) + " has a wrong reference count";
    }
  }
  std::string broken = check_sets();
  return broken.empty() ? check_copies() : broken;
}

// Sets, not counts: a block in two places keeps every count right.
std::string BlockPool::check_sets() const {
  std::vector<std::uint32_t> places(blocks());
  const std::vector<BlockIndex> free = free_list_->list();
  if (free.size() != free_list_->count()) return "the free list's count is not its size";
  for (const BlockIndex block : free) ++places[block];
  for (std::uint32_t i = 0; i < quarantine_size_; ++i) {
    const Quarantined& entry = quarantine_[(std::uint64_t{quarantine_begin_} + i) % blocks()];
    if (entry.fence <= completed_) return "a quarantined block has outlived its fence";
    ++places[entry.block];
  }
  for (BlockIndex block = 0; block < blocks(); ++block) {
    // Live or pinned: exactly where something refers to it.
    places[block] += states_[block].is_taken() ? 1 : 0;
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
    if (copy_use_[copies_[i].destination] != i) return "a queued copy is not found by its block";
  }
  for (BlockIndex block = 0; block < blocks(); ++block) {
    const std::string name = "block " + std::to_string(block);
    const std::uint32_t flags = states_[block].is_taken() ? states_[block].word : 0;
    if (targets[block] > 1) return name + " is the destination of two queued copies";
    if (targets[block] == 1 && pins[block] > 0) return name + " is in two queued copies";
    if (((flags & BlockState::kDestination) != 0) != (targets[block] == 1))
      return name + ": destination";
    if (((flags & BlockState::kSource) != 0) != (pins[block] > 0)) return name + ": source";
    if (pins[block] > 0 && copy_use_[block] != pins[block]) return name + ": wrong pin count";
    if (targets[block] == 1 && owners(block) == 0) return name + " is copied to for nobody";
  }
  return {};
}

}  // namespace kvrm
