#include <algorithm>
#include <vector>

#include "engines/descriptor/descriptor_log.h"
#include "engines/descriptor/step_limits.h"
#include "engines/kvrm/replay_log.h"
#include "harness/base/check.h"
#include "property_tests/fuzz/fuzz_input.h"
#include "property_tests/fuzz/seal_record.h"

namespace kvrm {
namespace {

constexpr std::size_t kMostEntries = 64;

struct SealedEntry {
  LogEntryKind kind = LogEntryKind::end;
  std::vector<std::byte> bytes;
};

struct SealedLog {
  DescriptorLogInfo info;
  std::vector<SealedEntry> entries;
  bool closed = false;
};

// A log with any header and any entries, as its writer would have been asked to write it.
SealedLog take_log(FuzzReader& reader) {
  SealedLog log;
  log.closed = reader.take<std::uint8_t>() % 4 != 0;
  log.info = reader.take<DescriptorLogInfo>();
  while (!reader.empty() && log.entries.size() < kMostEntries) {
    const auto kind = std::max<std::uint8_t>(1, reader.take<std::uint8_t>());
    const FuzzBytes bytes = reader.take_bytes(reader.take<std::uint16_t>());
    const auto span = std::as_bytes(bytes);
    log.entries.push_back({static_cast<LogEntryKind>(kind), {span.begin(), span.end()}});
    if (kind == 1) seal_record(log.entries.back().bytes);
  }
  return log;
}

void write(const SealedLog& log, const std::string& path) {
  Result<DescriptorLogWriter> writer = DescriptorLogWriter::create(path, log.info);
  KVRM_CHECK(writer.has_value());
  for (const SealedEntry& entry : log.entries) {
    KVRM_CHECK(writer->append(entry.kind, entry.bytes).has_value());
  }
  if (log.closed) KVRM_CHECK(writer->close().has_value());
}

bool is_log_error(const Error& error, const std::string& path) {
  check_error_form(error);
  return error.message.starts_with(path + ": byte ");
}

void check_read_back(const SealedLog& log, const std::string& path) {
  Result<DescriptorLogReader> reader = DescriptorLogReader::open(path);
  KVRM_CHECK(reader.has_value());
  const auto same = std::as_bytes(std::span(&log.info, 1));
  KVRM_CHECK(std::ranges::equal(std::as_bytes(std::span(&reader->info(), 1)), same));
  for (const SealedEntry& entry : log.entries) {
    const Result<std::optional<LogEntry>> read = reader->next();
    KVRM_CHECK(read && read->has_value());
    KVRM_CHECK((*read)->kind == entry.kind && (*read)->bytes == entry.bytes);
  }
  const Result<std::optional<LogEntry>> end = reader->next();
  KVRM_CHECK_EQ(end.has_value(), log.closed);
  KVRM_CHECK(end ? !end->has_value() : is_log_error(end.error(), path));
}

// Bytes of entries: all that a reader gives of a file lies in it.
Result<std::uint64_t> read_all(const std::string& path) {
  Result<DescriptorLogReader> reader = DescriptorLogReader::open(path);
  if (!reader) return tl::unexpected(reader.error());
  std::uint64_t total = 0;
  for (;;) {
    const Result<std::optional<LogEntry>> entry = reader->next();
    if (!entry) return tl::unexpected(entry.error());
    if (!entry->has_value()) return total;
    KVRM_CHECK_LT(total, (*entry)->offset);
    total += (*entry)->bytes.size();
  }
}

FuzzOutcome judge_file(const std::string& path, std::size_t file_bytes) {
  const Result<std::uint64_t> read = read_all(path);
  if (!read) KVRM_CHECK(is_log_error(read.error(), path));
  if (read) KVRM_CHECK_LT(*read, file_bytes);
  const Result<std::string> dump = dump_descriptor_log(path);
  if (!dump) KVRM_CHECK(is_log_error(dump.error(), path));
  KVRM_CHECK(read || !dump);
  const Result<std::string> experiment = experiment_of_log(path);
  if (!experiment) check_error_form(experiment.error());
  return dump ? FuzzOutcome::accepted : FuzzOutcome::refused;
}

}  // namespace

FuzzOutcome fuzz_descriptor_log(FuzzBytes input) {
  FuzzReader reader(input);
  if (reader.take<std::uint8_t>() % 4 == 0) {
    const MemoryFile file(as_text(reader.rest()));
    return judge_file(file.path(), reader.rest().size());
  }
  const SealedLog log = take_log(reader);
  const MemoryFile file;
  write(log, file.path());
  check_read_back(log, file.path());
  return judge_file(file.path(), file.content().size());
}

}  // namespace kvrm
