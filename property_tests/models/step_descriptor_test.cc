// The step descriptor: over long random sequences the image after each commit is the rebuild, byte
// for byte, whether the commit carried edits or the whole image; and a record that is not exactly
// the next one, whole and unharmed, changes nothing.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstring>
#include <functional>

#include "engines/transport/group_table.h"
#include "harness/base/prng.h"
#include "property_tests/models/step_image_case.h"

namespace kvrm {
namespace {

using models::Commits;
using models::kChunkTokens;
using models::rebuild;
using models::SlotTruth;
using models::small_limits;

// A random life of a few slots, kept in step with a builder by the same calls that the engine
// makes.
class Life {
 public:
  Life(std::uint64_t seed, std::uint32_t max_table_edits, const MergePolicy& policy)
      : random_(seed, "life"),
        limits_(small_limits(max_table_edits)),
        policy_(policy),
        groups_({.slots = limits_.shape.slots,
                 .block_tokens = limits_.block_tokens,
                 .chunk_tokens = kChunkTokens,
                 .policy = policy}),
        commits(limits_),
        slots(limits_.shape.slots) {}

  // One step's changes, committed but not applied.
  CommitResult step() {
    for (TokenId& token : commits.sampled) token = draw(limits_.vocabulary);
    for (SlotIndex slot = 0; slot < slots.size(); ++slot) {
      if (!slots[slot].table.empty() && draw(6) == 0) release(slot);
      const bool was_active = slots[slot].active;
      if (draw(5) != 0) {
        grow_and_activate(slot, was_active && !released_);
      } else if (was_active) {
        slots[slot].active = false;
        commits.builder.edit_slot(inactive_slot(slot), kNoToken);
      }
      released_ = false;
    }
    return commits.builder.commit(commits.channel);
  }
  std::vector<std::byte> expected() const { return rebuild(limits_, policy_, slots); }

 private:
  std::uint32_t draw(std::uint32_t bound) {
    return static_cast<std::uint32_t>(random_.below(bound));
  }

  void release(SlotIndex slot) {
    edits_.clear();
    groups_.clear(slot, edits_);
    commits.builder.edit_table(edits_);
    slots[slot].table.clear();
    released_ = true;
  }

  void grow_and_activate(SlotIndex slot, bool may_use_sampled) {
    SlotTruth& truth = slots[slot];
    const auto room = static_cast<std::uint32_t>(limits_.shape.max_blocks - truth.table.size());
    std::vector<BlockIndex> added;
    const std::uint32_t count = std::min(room, truth.table.empty() ? 1 + draw(8) : draw(2));
    for (std::uint32_t i = 0; i < count; ++i) {
      const BlockIndex last = !added.empty()         ? added.back()
                              : !truth.table.empty() ? truth.table.back()
                                                     : draw(limits_.pool_blocks);
      added.push_back(draw(3) == 0 ? draw(limits_.pool_blocks) : (last + 1) % limits_.pool_blocks);
    }
    truth.table.insert(truth.table.end(), added.begin(), added.end());
    edits_.clear();
    groups_.append(slot, added, edits_);
    commits.builder.edit_table(edits_);
    const bool sampled = may_use_sampled && draw(4) != 0;
    truth.active = true;
    truth.token = sampled ? commits.sampled[slot] : draw(limits_.vocabulary);
    truth.length = 1 + draw(limits_.max_length);
    truth.write_slot = draw(limits_.pool_blocks * limits_.block_tokens);
    truth.content_key = random_.next();
    commits.builder.edit_slot({.slot = slot,
                               .flags = kSlotActive | (sampled ? 0U : kTokenGiven),
                               .token = sampled ? kNoToken : truth.token,
                               .length = truth.length,
                               .write_slot = truth.write_slot,
                               .content_key = truth.content_key},
                              truth.token);
  }

  RandomStream random_;
  StepLimits limits_;
  MergePolicy policy_;
  GroupTable groups_;
  std::vector<TableEdit> edits_;
  bool released_ = false;

 public:
  Commits commits;
  std::vector<SlotTruth> slots;
};

TEST(StepDescriptor, TheImageEqualsARebuildAfterEveryCommit) {
  std::uint64_t full = 0;
  std::uint64_t edits = 0;
  const bool holds = rc::check([&] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    const auto max_table_edits = *rc::gen::element(0U, 6U, 15U, 200U);
    const MergePolicy policy{.max_gap_blocks = 0,
                             .max_group_blocks = *rc::gen::element(0U, 1U, 3U)};
    Life life(seed, max_table_edits, policy);
    for (int i = 0; i < 150; ++i) {
      const CommitResult commit = life.step();
      (commit.kind == CommitKind::full ? full : edits) += 1;
      RC_ASSERT((life.commits.apply() == ApplyStatus::ok));
      RC_ASSERT(life.commits.channel.applied == commit.epoch);
      const std::vector<std::byte> expected = life.expected();
      RC_ASSERT((life.commits.image() == expected));
      RC_ASSERT(std::ranges::equal(life.commits.builder.shadow(), expected));
    }
  });
  EXPECT_TRUE(holds);
  EXPECT_GT(full, 0U);
  EXPECT_GT(edits, 0U);
}

TEST(StepDescriptor, AnySingleFlippedBitIsRejectedAndChangesNothing) {
  for (const std::uint32_t max_table_edits : {0U, 200U}) {
    Life life(3, max_table_edits, {});
    for (int i = 0; i < 4; ++i) {
      life.step();
      ASSERT_EQ(life.commits.apply(), ApplyStatus::ok);
    }
    const CommitResult commit = life.step();
    ASSERT_EQ(commit.kind, max_table_edits == 0 ? CommitKind::full : CommitKind::edits);
    const std::vector<std::byte> before = life.commits.image();
    for (std::size_t bit = 0; bit < commit.bytes * 8; ++bit) {
      std::byte& byte = life.commits.record()[bit / 8];
      byte ^= std::byte{1} << (bit % 8);
      ASSERT_NE(life.commits.apply(), ApplyStatus::ok) << bit;
      ASSERT_EQ(life.commits.channel.applied, commit.epoch - 1);
      byte ^= std::byte{1} << (bit % 8);
    }
    ASSERT_EQ(life.commits.image(), before);
    ASSERT_EQ(life.commits.apply(), ApplyStatus::ok);
    ASSERT_EQ(life.commits.image(), life.expected());
  }
}

TEST(StepDescriptor, OnlyTheNextEpochIsAccepted) {
  Life life(4, 200, {});
  life.step();
  ASSERT_EQ(life.commits.apply(), ApplyStatus::ok);
  const std::vector<std::byte> before = life.commits.image();
  EXPECT_EQ(life.commits.apply(), ApplyStatus::bad_epoch);  // the same record again
  life.step();
  life.commits.channel.published -= 1;  // the record before
  EXPECT_EQ(life.commits.apply(), ApplyStatus::bad_epoch);
  life.commits.channel.published += 1;
  life.step();  // an epoch that was never applied lies in between
  EXPECT_EQ(life.commits.apply(), ApplyStatus::bad_epoch);
  EXPECT_EQ(life.commits.image(), before);
  EXPECT_DEATH(life.step(), "CHECK failed");  // the record's previous use was never applied
}

// A well-formed record, checksum included, whose content is out of range.
struct BadRecord {
  const char* name;
  std::function<void(StepRecordHeader&, SlotEdit&, TableEdit&)> harm;
  ApplyStatus status;
};

const BadRecord kBadRecords[] = {
    {"slot", [](auto&, SlotEdit& s, auto&) { s.slot = 5; }, ApplyStatus::bad_index},
    {"flags", [](auto&, SlotEdit& s, auto&) { s.flags |= 4; }, ApplyStatus::bad_index},
    {"token", [](auto&, SlotEdit& s, auto&) { s.token = 50; }, ApplyStatus::bad_index},
    {"length", [](auto&, SlotEdit& s, auto&) { s.length = 191; }, ApplyStatus::bad_index},
    {"length 0", [](auto&, SlotEdit& s, auto&) { s.length = 0; }, ApplyStatus::bad_index},
    {"write", [](auto&, SlotEdit& s, auto&) { s.write_slot = 70 * 16; }, ApplyStatus::bad_index},
    {"table", [](auto&, auto&, TableEdit& t) { t.table = StepTable{2}; }, ApplyStatus::bad_index},
    {"table slot", [](auto&, auto&, TableEdit& t) { t.slot = 5; }, ApplyStatus::bad_index},
    {"index", [](auto&, auto&, TableEdit& t) { t.index = 12; }, ApplyStatus::bad_index},
    {"logical", [](auto&, auto&, TableEdit& t) { t.logical = 11; }, ApplyStatus::bad_index},
    {"physical", [](auto&, auto&, TableEdit& t) { t.physical = 69; }, ApplyStatus::bad_index},
    {"overflow", [](auto&, auto&, TableEdit& t) { t.blocks = ~0U; }, ApplyStatus::bad_index},
    {"copies", [](StepRecordHeader& h, auto&, auto&) { h.copies = 1; }, ApplyStatus::bad_size},
    {"image", [](StepRecordHeader& h, auto&, auto&) { h.image_bytes = 8; }, ApplyStatus::bad_size},
    {"edits", [](StepRecordHeader& h, auto&, auto&) { h.slot_edits = 6; }, ApplyStatus::bad_size},
    {"entries", [](StepRecordHeader& h, auto&, auto&) { h.table_edits = 9; },
     ApplyStatus::bad_size},
    {"kind", [](StepRecordHeader& h, auto&, auto&) { h.kind = CommitKind{3}; },
     ApplyStatus::bad_size},
};

TEST(StepDescriptor, EveryIndexIsCheckedEvenWhereTheChecksumIsRight) {
  for (const BadRecord& bad : kBadRecords) {
    Commits commits(small_limits(8));
    const std::vector<std::byte> before = commits.image();
    StepRecordHeader header{.epoch = 1, .slot_edits = 1, .table_edits = 1};
    SlotEdit slot{.slot = 4, .flags = kSlotActive | kTokenGiven, .token = 1, .length = 17};
    TableEdit table{.slot = 4, .index = 1, .blocks = 2, .logical = 3, .physical = 5};
    bad.harm(header, slot, table);
    commits.channel.published = 1;
    std::byte* record = commits.record();
    std::memcpy(record + sizeof(header), &slot, sizeof(slot));
    std::memcpy(record + sizeof(header) + sizeof(slot), &table, sizeof(table));
    std::memcpy(record, &header, sizeof(header));
    header.checksum = record_checksum(record, sizeof(header) + sizeof(slot) + sizeof(table));
    std::memcpy(record, &header, sizeof(header));
    EXPECT_EQ(commits.apply(), bad.status) << bad.name;
    EXPECT_EQ(commits.image(), before) << bad.name;
  }
}

TEST(StepDescriptor, AFullCommitsImageIsChecked) {
  const StepLimits limits = small_limits(0);
  const auto status_of = [&](const std::function<void(const StepImage&)>& harm) {
    Commits commits(limits);
    models::AlignedBytes image(step_image_bytes(limits.shape));
    clear_step_image(image.data(), limits.shape);
    harm(place_step_image(image.data(), limits.shape));
    StepRecordHeader header{.kind = CommitKind::full, .epoch = 1};
    header.image_bytes = static_cast<std::uint32_t>(image.size);
    commits.channel.published = 1;
    std::memcpy(commits.record() + sizeof(header), image.data(), image.size);
    std::memcpy(commits.record(), &header, sizeof(header));
    header.checksum = record_checksum(commits.record(), sizeof(header) + image.size);
    std::memcpy(commits.record(), &header, sizeof(header));
    return commits.apply();
  };
  EXPECT_EQ(status_of([](const StepImage&) {}), ApplyStatus::ok);
  EXPECT_EQ(status_of([](const StepImage& i) { i.rows.history[1] = 0; }), ApplyStatus::bad_index);
  EXPECT_EQ(status_of([](const StepImage& i) { i.rows.length[7] = 1; }), ApplyStatus::bad_index);
  EXPECT_EQ(status_of([](const StepImage& i) { i.rows.length[0] = 2; }), ApplyStatus::bad_index);
  EXPECT_EQ(status_of([](const StepImage& i) { i.rows.token[0] = 3; }), ApplyStatus::bad_index);
  EXPECT_EQ(status_of([](const StepImage& i) { i.groups[59].physical = 1; }),
            ApplyStatus::bad_index);
  EXPECT_EQ(status_of([](const StepImage& i) {
              i.groups[0] = {0, 60, 11, 0};
            }),
            ApplyStatus::bad_index);
  EXPECT_EQ(status_of([](const StepImage& i) { i.chunk_group[29] = 12; }), ApplyStatus::bad_index);
}

}  // namespace
}  // namespace kvrm
