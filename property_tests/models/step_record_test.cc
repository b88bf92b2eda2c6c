// A step record that is not exactly the next one, whole and unharmed, changes nothing: damage, torn
// and stale records, and well-formed ones whose content is out of range.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>

#include "property_tests/models/step_life.h"

namespace kvrm {
namespace {

using models::Commits;
using models::Life;
using models::small_limits;

// A life before a record of this kind that has something in every part.
Life rich_life(CommitKind kind) {
  for (std::uint64_t seed = 0;; ++seed) {
    Life life(seed, small_limits(kind == CommitKind::full ? 0 : 4000), {});
    for (int i = 0; i < 4; ++i) {
      life.step();
      life.commits.apply();
    }
    if (life.step().kind != kind) continue;
    const StepRecordHeader header = record_header(life.commits.record());
    const bool all = header.slot_edits > 0 && header.table_edits > 1 && header.block_copies > 0 &&
                     header.stage_copies > 0 && header.far_updates > 0 && header.flags != 0;
    if (all || kind == CommitKind::full) return life;
  }
}

class DamagedRecord : public ::testing::TestWithParam<CommitKind> {};

TEST_P(DamagedRecord, AnySingleFlippedBitIsRejectedAndChangesNothing) {
  Life life = rich_life(GetParam());
  const std::vector<std::byte> before = life.commits.image();
  const Epoch applied = life.commits.channel.applied;
  for (std::size_t bit = 0; bit < life.commits.builder.record().size() * 8; ++bit) {
    std::byte& byte = life.commits.record()[bit / 8];
    byte ^= std::byte{1} << (bit % 8);
    ASSERT_NE(life.commits.apply(), ApplyStatus::ok) << bit;
    ASSERT_EQ(life.commits.channel.applied, applied);
    byte ^= std::byte{1} << (bit % 8);
    if (bit % 64 == 0) {
      ASSERT_EQ(life.commits.image(), before);
    }
  }
  ASSERT_EQ(life.commits.image(), before);
  ASSERT_EQ(life.commits.apply(), ApplyStatus::ok);
  ASSERT_EQ(life.commits.image(), life.expected());
}

// Torn: only the first bytes have arrived; behind them lies what was there before.
TEST_P(DamagedRecord, AnyTruncationIsRejectedAndChangesNothing) {
  Life life = rich_life(GetParam());
  const std::vector<std::byte> before = life.commits.image();
  const std::span<const std::byte> span = life.commits.builder.record();
  const std::vector<std::byte> record(span.begin(), span.end());
  std::uint64_t cuts = 0;
  for (std::size_t kept = 0; kept < record.size(); ++kept) {
    std::byte* memory = life.commits.record();
    std::memset(memory + kept, 0xaa, record.size() - kept);
    if (std::memcmp(memory, record.data(), record.size()) != 0) {
      ++cuts;
      ASSERT_NE(life.commits.apply(), ApplyStatus::ok) << kept;
    }
    std::memcpy(memory, record.data(), record.size());
  }
  EXPECT_EQ(cuts, record.size());
  ASSERT_EQ(life.commits.image(), before);
  ASSERT_EQ(life.commits.apply(), ApplyStatus::ok);
  ASSERT_EQ(life.commits.image(), life.expected());
}

INSTANTIATE_TEST_SUITE_P(Kinds, DamagedRecord,
                         ::testing::Values(CommitKind::edits, CommitKind::full));

TEST(StepRecord, OnlyTheNextEpochIsAccepted) {
  Life life(4, small_limits(4000), {});
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
}

// A record with one of each, which is right as it is made.
struct OneOfEach {
  StepRecordHeader header{.flags = kAdvance,
                          .slot_edits = 2,
                          .table_edits = 2,
                          .block_copies = 2,
                          .stage_copies = 2,
                          .far_updates = 2,
                          .table_bytes = 56};
  struct Body {
    SlotEdit slots[2] = {{.slot = 2,
                          .flags = kSlotActive | kTokenGiven,
                          .token = 1,
                          .position = 16,
                          .length = 17,
                          .write_slot = 33,
                          .content_key = 3},
                         {.slot = 4,
                          .flags = kSlotActive,
                          .position = 200,
                          .length = 70,
                          .far = {.first = 16, .entries = 3, .window = 32},
                          .write_slot = 34}};
    TableEdit group{.slot = 4, .count = 2, .index = 1, .logical = 3};
    std::uint64_t groups[2] = {pack_group(5, 2), pack_group(9, 1)};
    TableEdit bias{.slot = 4, .table = StepTable::far_bias, .count = 1, .index = 2};
    std::uint64_t biases[1] = {0x3f800000U};
    BlockCopy copies[2] = {{.source = 1, .destination = 7, .blocks = 2},
                           {.source = 3, .destination = 9, .blocks = 1}};
    StageCopy stages[2] = {{.slot = 1, .logical = 0, .physical = 4, .blocks = 2},
                           {.slot = 1, .logical = 2, .physical = 1, .blocks = 1}};
    FarUpdate updates[2] = {
        {.radii_block = 1, .entry = 2, .entry_slot = 3, .source_slot = 16, .count = 16},
        {.kind = FarUpdateKind::merge,
         .radii_block = 1,
         .entry = 2,
         .source_entry = 3,
         .entry_slot = 3,
         .source_slot = 4,
         .count = 16,
         .source_count = 32}};
  } body;
};

struct BadRecord {
  const char* name;
  std::function<void(StepRecordHeader&, OneOfEach::Body&)> harm;
  ApplyStatus status;
};

using Header = StepRecordHeader;
using Body = OneOfEach::Body;
constexpr ApplyStatus kIndex = ApplyStatus::bad_index;
constexpr ApplyStatus kSize = ApplyStatus::bad_size;
constexpr ApplyStatus kOverlap = ApplyStatus::bad_overlap;

const BadRecord kBadRecords[] = {
    {"nothing", [](Header&, Body&) {}, ApplyStatus::ok},
    {"slot", [](Header&, Body& b) { b.slots[1].slot = 5; }, kIndex},
    {"slot twice", [](Header&, Body& b) { b.slots[1].slot = 2; }, kIndex},
    {"slots descend", [](Header&, Body& b) { std::swap(b.slots[0], b.slots[1]); }, kIndex},
    {"flags", [](Header&, Body& b) { b.slots[0].flags |= 4; }, kIndex},
    {"token", [](Header&, Body& b) { b.slots[0].token = 50; }, kIndex},
    {"token not given", [](Header&, Body& b) { b.slots[1].token = 1; }, kIndex},
    {"length", [](Header&, Body& b) { b.slots[0].position = (b.slots[0].length = 191) - 1; },
     kIndex},
    {"length 0", [](Header&, Body& b) { b.slots[0].length = 0; }, kIndex},
    {"position", [](Header&, Body& b) { b.slots[0].position = 15; }, kIndex},
    {"position's bound", [](Header&, Body& b) { b.slots[1].position = 400; }, kIndex},
    {"write", [](Header&, Body& b) { b.slots[0].write_slot = 70 * 16; }, kIndex},
    {"no write", [](Header&, Body& b) { b.slots[0].write_slot = kNoWrite; }, kIndex},
    {"inactive, not empty", [](Header&, Body& b) { b.slots[0].flags = kTokenGiven; }, kIndex},
    {"far first", [](Header&, Body& b) { b.slots[1].far.first = 8; }, kIndex},
    {"far entries", [](Header&, Body& b) { b.slots[1].far.entries = 17; }, kIndex},
    {"far window", [](Header&, Body& b) { b.slots[1].far.window = 48; }, kIndex},
    {"far window's bound", [](Header&, Body& b) { b.slots[1].far.window = 96; }, kIndex},
    {"table", [](Header&, Body& b) { b.group.table = StepTable{3}; }, kIndex},
    {"table slot", [](Header&, Body& b) { b.group.slot = 5; }, kIndex},
    {"table count", [](Header&, Body& b) { b.group.count = 0; }, kIndex},
    {"table words", [](Header&, Body& b) { b.group.count = 9; }, kIndex},
    {"table index", [](Header&, Body& b) { b.group.index = 11; }, kIndex},
    {"group's logical", [](Header&, Body& b) { b.group.logical = 10; }, kIndex},
    {"group's physical", [](Header&, Body& b) { b.groups[0] = pack_group(69, 2); }, kIndex},
    {"group overflows", [](Header&, Body& b) { b.groups[0] = pack_group(1, ~0U); }, kIndex},
    {"cleared, not zero", [](Header&, Body& b) { b.groups[1] = pack_group(9, 0); }, kIndex},
    {"cleared before a group", [](Header&, Body& b) { b.groups[0] = b.group.logical = 0; }, kIndex},
    {"cleared, with a logical", [](Header&, Body& b) { b.groups[0] = b.groups[1] = 0; }, kIndex},
    {"bias negative", [](Header&, Body& b) { b.biases[0] = 0xbf800000U; }, kIndex},
    {"bias infinite", [](Header&, Body& b) { b.biases[0] = 0x7f800000U; }, kIndex},
    {"bias's padding", [](Header&, Body& b) { b.biases[0] |= std::uint64_t{1} << 40; }, kIndex},
    {"bias index", [](Header&, Body& b) { b.bias.index = 12; }, kIndex},
    {"bias logical", [](Header&, Body& b) { b.bias.logical = 1; }, kIndex},
    {"chunk's group",
     [](Header&, Body& b) {
       b.bias.table = StepTable::chunk_group;
       b.biases[0] = 12;
     },
     kIndex},
    {"copy source", [](Header&, Body& b) { b.copies[1].source = 70; }, kIndex},
    {"copy destination", [](Header&, Body& b) { b.copies[1].destination = 70; }, kIndex},
    {"copy of nothing", [](Header&, Body& b) { b.copies[1].blocks = 0; }, kIndex},
    {"copy's padding", [](Header&, Body& b) { b.copies[1].reserved = 1; }, kIndex},
    {"one destination", [](Header&, Body& b) { b.copies[1].destination = 8; }, kOverlap},
    {"destinations descend", [](Header&, Body& b) { std::swap(b.copies[0], b.copies[1]); },
     kOverlap},
    {"read and written", [](Header&, Body& b) { b.copies[1].source = 8; }, kOverlap},
    {"onto itself", [](Header&, Body& b) { b.copies[0].source = 6; }, kOverlap},
    {"stage slot", [](Header&, Body& b) { b.stages[1].slot = 5; }, kIndex},
    {"stage logical", [](Header&, Body& b) { b.stages[1].logical = 12; }, kIndex},
    {"stage physical", [](Header&, Body& b) { b.stages[1].physical = 70; }, kIndex},
    {"stage of nothing", [](Header&, Body& b) { b.stages[1].blocks = 0; }, kIndex},
    {"one place staged twice", [](Header&, Body& b) { b.stages[1].logical = 1; }, kOverlap},
    {"stages descend", [](Header&, Body& b) { b.stages[1].slot = 0; }, kOverlap},
    {"update kind", [](Header&, Body& b) { b.updates[0].kind = FarUpdateKind{3}; }, kIndex},
    {"update radii", [](Header&, Body& b) { b.updates[0].radii_block = 70; }, kIndex},
    {"update entry", [](Header&, Body& b) { b.updates[0].entry = 12; }, kIndex},
    {"update entry slot", [](Header&, Body& b) { b.updates[0].entry_slot = 70 * 16; }, kIndex},
    {"update source slot", [](Header&, Body& b) { b.updates[1].source_slot = 70 * 16; }, kIndex},
    {"summary of no block", [](Header&, Body& b) { b.updates[0].source_slot = 17; }, kIndex},
    {"summary too large", [](Header&, Body& b) { b.updates[0].count = 17; }, kIndex},
    {"merge with itself", [](Header&, Body& b) { b.updates[1].source_entry = 2; }, kIndex},
    {"merge of nothing", [](Header&, Body& b) { b.updates[1].source_count = 0; }, kIndex},
    {"unknown flag", [](Header& h, Body&) { h.flags = 2; }, kSize},
    {"image", [](Header& h, Body&) { h.image_bytes = 8; }, kSize},
    {"slot edits", [](Header& h, Body&) { h.slot_edits = 6; }, kSize},
    {"table bytes", [](Header& h, Body&) { h.table_bytes = 4008; }, kSize},
    {"odd table bytes", [](Header& h, Body&) { h.table_bytes = 52; }, kSize},
    {"table edits", [](Header& h, Body&) { h.table_edits = 3; }, kIndex},
    {"block copies", [](Header& h, Body&) { h.block_copies = 9; }, kSize},
    {"stage copies", [](Header& h, Body&) { h.stage_copies = 7; }, kSize},
    {"far updates", [](Header& h, Body&) { h.far_updates = 11; }, kSize},
    {"kind", [](Header& h, Body&) { h.kind = CommitKind{3}; }, kSize},
    {"full with edits", [](Header& h, Body&) { h.kind = CommitKind::full; }, kSize},
};

TEST(StepRecord, EveryIndexIsCheckedEvenWhereTheChecksumIsRight) {
  static_assert(sizeof(Body) == 2 * 48 + 56 + 2 * 16 + 2 * 16 + 2 * 40);
  for (const BadRecord& bad : kBadRecords) {
    Commits commits(small_limits(4000));
    const std::vector<std::byte> before = commits.image();
    OneOfEach record;
    bad.harm(record.header, record.body);
    commits.publish(record.header, std::as_bytes(std::span(&record.body, 1)));
    EXPECT_EQ(commits.apply(), bad.status) << bad.name;
    EXPECT_EQ(commits.image() == before, bad.status != ApplyStatus::ok) << bad.name;
  }
}

TEST(StepRecord, ARowThatMayNotAdvanceStopsTheRecord) {
  const auto status_after = [](const SlotEdit& edit) {
    Commits commits(small_limits(4000));
    commits.publish({.slot_edits = 1}, std::as_bytes(std::span(&edit, 1)));
    EXPECT_EQ(commits.apply(), ApplyStatus::ok);
    const std::vector<std::byte> before = commits.image();
    commits.publish({.flags = kAdvance}, {});
    const ApplyStatus status = commits.apply();
    EXPECT_EQ(commits.image() == before, status != ApplyStatus::ok);
    return status;
  };
  SlotEdit edit{.slot = 1, .flags = kSlotActive, .position = 3, .length = 4, .write_slot = 19};
  EXPECT_EQ(status_after(edit), ApplyStatus::ok);
  edit.write_slot = 31;
  EXPECT_EQ(status_after(edit), ApplyStatus::bad_advance);
  edit = {.slot = 1, .flags = kSlotActive, .position = 189, .length = 190, .write_slot = 19};
  EXPECT_EQ(status_after(edit), ApplyStatus::bad_advance);
  edit = {.slot = 1, .flags = kSlotActive, .position = 399, .length = 90, .write_slot = 19};
  edit.far = {.first = 0, .entries = 3, .window = 32};
  EXPECT_EQ(status_after(edit), ApplyStatus::bad_advance);
}

TEST(StepRecord, AFullCommitsImageIsChecked) {
  const StepLimits limits = small_limits(0);
  const auto status_of = [&](const std::function<void(const StepImage&)>& harm) {
    Commits commits(limits);
    models::AlignedBytes image(step_image_bytes(limits.shape));
    clear_step_image(image.data(), limits.shape);
    harm(place_step_image(image.data(), limits.shape));
    const std::vector<std::byte> before = commits.image();
    commits.publish({.kind = CommitKind::full, .image_bytes = image.size}, image.span());
    const ApplyStatus status = commits.apply();
    EXPECT_TRUE(status == ApplyStatus::ok || commits.image() == before);
    return status;
  };
  using Image = const StepImage&;
  EXPECT_EQ(status_of([](Image) {}), ApplyStatus::ok);
  EXPECT_EQ(status_of([](Image i) { i.rows.history[1] = 0; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.rows.length[7] = 1; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.rows.length[0] = 2; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.rows.token[0] = 3; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.rows.token[0] = kSampledToken; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.rows.token[9] = kKeptToken; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.rows.far[0].window = 32; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.groups[11].physical = 1; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.groups[0] = {0, 60, 11, 0}; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.chunk_group[29] = 12; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.far_bias[59] = -1.0F; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.far_bias[0] = std::nanf(""); }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.counts->stage_all = 2; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.counts->stage_copies = 7; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.counts->block_copies = 1; }), kIndex);  // of no blocks
  EXPECT_EQ(status_of([](Image i) { i.block_copies[7].source = 1; }), kIndex);
  EXPECT_EQ(status_of([](Image i) { i.far_updates[9].count = 1; }), kIndex);
  EXPECT_EQ(status_of([](Image i) {
              i.counts->block_copies = 1;
              i.block_copies[0] = {.source = 1, .destination = 2, .blocks = 2};
            }),
            kOverlap);
  // Behind the last part that does not end a cache line.
  EXPECT_EQ(status_of([](Image i) { i.chunk_group[30] = 1; }), kIndex);
}

}  // namespace
}  // namespace kvrm
