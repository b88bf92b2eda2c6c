// The log of step descriptors, the dump of a record, and records that are published from a log.
#include "engines/descriptor/descriptor_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "engines/descriptor/descriptor_dump.h"
#include "engines/descriptor/step_descriptor.h"
#include "harness/device/cpu_device.h"

namespace kvrm {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

StepLimits limits() {
  return {.shape = {.slots = 3,
                    .max_blocks = 8,
                    .max_chunks = 4,
                    .extra_block_copies = 1,
                    .max_stage_copies = 2},
          .pool_blocks = 20,
          .block_tokens = 16,
          .max_length = 128,
          .max_position = 128,
          .vocabulary = 100,
          .max_table_bytes = 200};
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

class DescriptorLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + "descriptor_log_test_" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    auto writer = DescriptorLogWriter::create(path_, kInfo);
    ASSERT_TRUE(writer.has_value());
    ASSERT_TRUE(writer->append(LogEntryKind::step, bytes_of("a record")));
    ASSERT_TRUE(writer->append(kOwn, {}));
    ASSERT_TRUE(writer->append(kOwn, bytes_of("of the engine")));
    ASSERT_TRUE(writer->close());
    std::ifstream file(path_, std::ios::binary);
    content_.assign(std::istreambuf_iterator<char>(file), {});
    ASSERT_EQ(content_.size(), writer->bytes());
  }
  void TearDown() override { std::filesystem::remove(path_); }

  // The error that a file with this content gives, or "none", having read it to its end.
  std::string error_of(const std::string& content) const {
    std::ofstream(path_, std::ios::binary) << content;
    return error();
  }
  std::string error() const {
    auto reader = DescriptorLogReader::open(path_);
    if (!reader) return reader.error().message;
    for (;;) {
      const auto entry = reader->next();
      if (!entry) return entry.error().message;
      if (!*entry) return "none";
    }
  }

  static constexpr auto kOwn = static_cast<LogEntryKind>(17);
  const DescriptorLogInfo kInfo{.limits = limits(), .chunk_tokens = 32, .fingerprint = 77};
  static constexpr std::size_t kHeader = 96;
  static constexpr std::size_t kEntry = 24;
  std::string path_;
  std::string content_;
};

TEST_F(DescriptorLogTest, ReadsBackWhatWasWritten) {
  auto reader = DescriptorLogReader::open(path_);
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(reader->info().fingerprint, 77U);
  EXPECT_EQ(reader->info().chunk_tokens, 32U);
  EXPECT_EQ(std::memcmp(&reader->info(), &kInfo, sizeof(kInfo)), 0);
  const auto expect = [&](LogEntryKind kind, std::uint64_t offset, const std::string& text) {
    const auto entry = reader->next();
    ASSERT_TRUE(entry.has_value() && entry->has_value());
    EXPECT_EQ((*entry)->kind, kind);
    EXPECT_EQ((*entry)->offset, offset);
    EXPECT_EQ((*entry)->bytes, bytes_of(text));
  };
  expect(LogEntryKind::step, kHeader, "a record");
  expect(kOwn, kHeader + kEntry + 8, "");
  expect(kOwn, kHeader + 2 * kEntry + 8, "of the engine");
  for (int again = 0; again < 2; ++again) {
    const auto end = reader->next();
    EXPECT_TRUE(end.has_value() && !end->has_value());
  }
}

TEST_F(DescriptorLogTest, EveryFlippedBitIsFound) {
  ASSERT_EQ(error(), "none");
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](std::size_t at, char byte) {
    file.seekp(static_cast<std::streamoff>(at)).put(byte).flush();
  };
  for (std::size_t bit = 0; bit < content_.size() * 8; ++bit) {
    const char byte = content_[bit / 8];
    put(bit / 8, static_cast<char>(byte ^ (1 << (bit % 8))));
    EXPECT_THAT(error(), StartsWith(path_ + ": byte ")) << bit;
    put(bit / 8, byte);
  }
  ASSERT_EQ(error(), "none");
}

TEST_F(DescriptorLogTest, EveryTruncationIsFound) {
  for (std::size_t size = 0; size < content_.size(); ++size) {
    EXPECT_THAT(error_of(content_.substr(0, size)), HasSubstr(": cut off: ")) << size;
  }
  EXPECT_THAT(
      error_of(content_.substr(0, kHeader + 5)),
      HasSubstr("byte 96: cut off: the next entry's header takes 24 bytes, and 5 are left"));
  EXPECT_THAT(error_of(content_ + "x"), HasSubstr("1 bytes behind the log's end"));
}

TEST_F(DescriptorLogTest, EntriesCannotGoMissing) {
  std::string shortened = content_;
  shortened.erase(kHeader, kEntry + 8);
  EXPECT_THAT(error_of(shortened), HasSubstr("byte 96: entry 0 is damaged"));
}

TEST_F(DescriptorLogTest, ForeignFilesAreNamed) {
  EXPECT_THAT(error_of(std::string(200, 'x')), HasSubstr("byte 0: not a descriptor log"));
  std::string version = content_;
  version[8] = 9;
  EXPECT_THAT(error_of(version),
              HasSubstr("version 9 of the format; this program reads version 1"));
  EXPECT_THAT(DescriptorLogReader::open(path_ + ".none").error().message,
              HasSubstr("cannot be opened: No such file"));
  EXPECT_THAT(DescriptorLogWriter::create("/no/such/folder/log", kInfo).error().message,
              HasSubstr("/no/such/folder/log: cannot be created"));
}

class TwoDescriptors : public ::testing::Test {
 protected:
  static StepDescriptor make(Device& device) {
    auto made = StepDescriptor::make(limits(), device);
    EXPECT_TRUE(made.has_value());
    return std::move(*made);
  }
  ApplyStatus apply(const StepDescriptor& descriptor) {
    OpList ops;
    descriptor.append_apply(ops, sampled_.data());
    WorkerContext worker;
    ops.ops()[0].kernel->host(ops.ops()[0].args, 0, worker);
    return descriptor.status();
  }
  // A step with one of each; every third is a full commit, because its staging does not fit.
  void step(std::uint32_t number) {
    DescriptorBuilder& builder = first_.builder();
    builder.advance();
    if (number % 3 == 0) {
      builder.edit_slot({.slot = 1,
                         .flags = kSlotActive | kTokenGiven,
                         .token = 5,
                         .position = 16,
                         .length = 17,
                         .write_slot = 16 * number,
                         .content_key = 10});
    }
    TableEdits edits;
    edits.set_group(1, 0, {.logical = 0, .physical = number, .blocks = 2});
    edits.set_value(1, StepTable::far_bias, 3, 0x3f800000U);
    builder.edit_tables(edits);
    builder.copy_blocks({.source = 1, .destination = 2, .blocks = 1});
    const StageCopy copy{.slot = 1, .logical = number % 4, .physical = 3, .blocks = 1};
    for (std::uint32_t i = 0; i < 1 + number % 3; ++i) builder.stage({&copy, 1});
    builder.update_far(
        {.radii_block = 1, .entry = 2, .entry_slot = 3, .source_slot = 16, .count = 16});
    kinds_.push_back(first_.commit().kind);
  }

  std::unique_ptr<Device> device_ = make_cpu_device({.workers = 1}).value();
  StepDescriptor first_ = make(*device_);
  StepDescriptor second_ = make(*device_);
  std::vector<TokenId> sampled_ = {7, 8, 9};
  std::vector<CommitKind> kinds_;
};

TEST_F(TwoDescriptors, RecordsThatArePublishedGiveTheSameImage) {
  for (std::uint32_t number = 0; number < 9; ++number) {
    if (number % 3 == 1) continue;  // two equal copies would be refused
    step(number);
    ASSERT_EQ(apply(first_), ApplyStatus::ok);
    const std::span<const std::byte> span = first_.record();
    const std::vector<std::byte> record(span.begin(), span.end());
    for (std::size_t size = 0; size < record.size(); ++size) {
      ASSERT_FALSE(second_.publish({record.data(), size}));
    }
    ASSERT_TRUE(second_.publish(record));
    ASSERT_EQ(apply(second_), ApplyStatus::ok);
    ASSERT_TRUE(std::ranges::equal(first_.image_bytes(), second_.image_bytes()));
    ASSERT_TRUE(second_.publish(record));
    ASSERT_EQ(apply(second_), ApplyStatus::bad_epoch);
  }
  EXPECT_THAT(kinds_, ::testing::Contains(CommitKind::edits));
  EXPECT_THAT(kinds_, ::testing::Contains(CommitKind::full));
}

TEST_F(TwoDescriptors, ADumpHasALineAnEdit) {
  step(0);
  EXPECT_EQ(dump_record(first_.record(), limits()),
            "epoch 1: edits, 240 bytes, others advance\n"
            "slot 1: token 5, position 16, length 17, write 0, key 0xa\n"
            "group of slot 1[0]: 0 <- 0, 2 blocks\n"
            "far_bias of slot 1[3]: 1\n"
            "copy block 2 <- 1, 1 blocks\n"
            "stage slot 1 from block 0 <- 3, 1 blocks\n"
            "far entry 2 at 3: summary of 16 positions from 16, radii in block 1\n");
  ASSERT_EQ(apply(first_), ApplyStatus::ok);
  step(2);
  const std::string full = dump_record(first_.record(), limits());
  EXPECT_THAT(full, StartsWith("epoch 2: full commit, "));
  EXPECT_THAT(full, HasSubstr("slot 1: token sampled, position 17, length 18, write 1, key 0xa\n"));
  EXPECT_THAT(full, HasSubstr("stage every group of every active slot\n"));
}

TEST_F(TwoDescriptors, ADumpNamesWhatIsWrong) {
  step(0);
  const std::span<const std::byte> span = first_.record();
  std::vector<std::byte> record(span.begin(), span.end());
  const auto dump = [&] { return dump_record(record, limits()); };
  record.back() ^= std::byte{1};
  EXPECT_EQ(dump(), "a damaged step record: its body\n");
  record[20] ^= std::byte{1};
  EXPECT_EQ(dump(), "a damaged step record: its header\n");
  record[0] ^= std::byte{1};
  EXPECT_EQ(dump(), "not a step record: no magic number\n");
  EXPECT_EQ(dump_record({span.data(), span.size() - 8}, limits()),
            "not a step record of these limits: its sizes do not fit\n");
  EXPECT_EQ(dump_record({span.data(), 7}, limits()), "not a step record: shorter than a header\n");
}

// Limits stand in a log's header, which may hold anything.
TEST_F(TwoDescriptors, ADumpUnderImpossibleLimitsSaysSo) {
  step(0);
  const std::string impossible = "a step record under limits that no engine has\n";
  const auto dump = [&](auto change) {
    StepLimits changed = limits();
    change(changed);
    return dump_record(first_.record(), changed);
  };
  EXPECT_NE(dump([](StepLimits&) {}), impossible);
  EXPECT_EQ(dump([](StepLimits& l) { l.block_tokens = 0; }), impossible);
  EXPECT_EQ(dump([](StepLimits& l) { l.shape.slots = ~0U; }), impossible);
  EXPECT_EQ(dump([](StepLimits& l) { l.shape.max_blocks = 1U << 31; }), impossible);
  EXPECT_EQ(dump([](StepLimits& l) { l.shape.max_chunks = ~0U; }), impossible);
  EXPECT_EQ(dump([](StepLimits& l) { l.shape.extra_block_copies = ~0U; }), impossible);
  EXPECT_EQ(dump([](StepLimits& l) { l.shape.max_stage_copies = ~0U; }), impossible);
  EXPECT_EQ(dump([](StepLimits& l) { l.max_table_bytes = ~0ULL; }), impossible);
}

}  // namespace
}  // namespace kvrm
