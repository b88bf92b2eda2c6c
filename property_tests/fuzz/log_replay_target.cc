#include <algorithm>
#include <cstring>
#include <utility>

#include "engines/descriptor/record_view.h"
#include "engines/kvrm/replay_log.h"
#include "harness/base/check.h"
#include "property_tests/fuzz/logged_run.h"
#include "property_tests/fuzz/seal_record.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kMostChanges = 8;
constexpr std::uint32_t kEdges[] = {0,          1,          2,          7,          8,
                                    15,         16,         0x7fffffff, 0x80000000, 0xfffffffd,
                                    0xfffffffe, 0xffffffff, 0xffff0000, 0x00010000};

std::size_t place_in(const LogEntry& entry, std::uint16_t draw, std::size_t width) {
  return entry.bytes.size() < width ? 0 : draw % (entry.bytes.size() - width + 1);
}

void flip_bits(LogEntry& entry, FuzzReader& reader) {
  const std::size_t at = place_in(entry, reader.take<std::uint16_t>(), 1);
  if (!entry.bytes.empty()) entry.bytes[at] ^= std::byte{reader.take<std::uint8_t>()};
}

void put_word(LogEntry& entry, FuzzReader& reader) {
  const std::size_t at = place_in(entry, reader.take<std::uint16_t>(), 4) / 4 * 4;
  const auto draw = reader.take<std::uint8_t>();
  const std::uint32_t value = draw < std::size(kEdges) ? kEdges[draw] : draw;
  if (entry.bytes.size() >= 4) std::memcpy(entry.bytes.data() + at, &value, sizeof(value));
}

// The record as a full commit of the image that the step left.
void make_full(LogEntry& entry, const std::vector<std::byte>& image) {
  if (entry.bytes.size() < sizeof(StepRecordHeader)) return;
  const StepRecordHeader before = record_header(entry.bytes.data());
  const StepRecordHeader header{
      .kind = CommitKind::full, .epoch = before.epoch, .image_bytes = image.size()};
  entry.bytes.resize(sizeof(header));
  std::memcpy(entry.bytes.data(), &header, sizeof(header));
  entry.bytes.insert(entry.bytes.end(), image.begin(), image.end());
}

enum class Change : std::uint8_t { flip, word, full, drop, twice, swap, cut, kind };

// Whether the log may mean another run now.
bool change_log(LoggedRun& run, FuzzReader& reader) {
  std::vector<LogEntry>& entries = run.entries;
  if (entries.empty()) return false;
  const auto change = static_cast<Change>(reader.take<std::uint8_t>() % 8);
  const std::size_t index = reader.take<std::uint16_t>() % entries.size();
  const auto at = entries.begin() + static_cast<std::ptrdiff_t>(index);
  const auto steps = static_cast<std::size_t>(std::count_if(
      entries.begin(), at, [](const LogEntry& entry) { return entry.kind == LogEntryKind::step; }));
  switch (change) {
    case Change::flip:
      flip_bits(*at, reader);
      return true;
    case Change::word:
      put_word(*at, reader);
      return true;
    case Change::full:
      if (at->kind == LogEntryKind::step && steps < run.images.size()) {
        make_full(*at, run.images[steps]);
      }
      return false;
    case Change::drop:
      entries.erase(at);
      return true;
    case Change::twice: {
      LogEntry copy = *at;
      entries.insert(at, std::move(copy));
      return true;
    }
    case Change::swap:
      std::swap(*at, entries.back());
      return true;
    case Change::cut:
      at->bytes.resize(place_in(*at, reader.take<std::uint16_t>(), 0));
      return true;
    case Change::kind:
      at->kind = static_cast<LogEntryKind>(std::max<std::uint8_t>(1, reader.take<std::uint8_t>()));
      return true;
  }
  return true;
}

void write_log(LoggedRun& run, const std::string& path) {
  auto writer = DescriptorLogWriter::create(path, run.info);
  KVRM_CHECK(writer.has_value());
  for (LogEntry& entry : run.entries) {
    if (entry.kind == LogEntryKind::step) seal_record(entry.bytes);
    KVRM_CHECK(writer->append(entry.kind, entry.bytes).has_value());
  }
  KVRM_CHECK(writer->close().has_value());
}

}  // namespace

FuzzOutcome fuzz_log_replay(FuzzBytes input) {
  FuzzReader reader(input);
  LoggedRun run = run_logged(reader);
  bool changed = false;
  for (std::uint32_t i = 0; i < kMostChanges && !reader.empty(); ++i) {
    changed |= change_log(run, reader);
  }
  const MemoryFile file;
  write_log(run, file.path());
  const ReplayWorld& world = replay_world();
  const Result<ReplayedLog> replayed =
      replay_descriptor_log(file.path(), run.spec, *run.model, world.kernels, *world.device);
  if (!replayed) {
    check_error_form(replayed.error());
    KVRM_CHECK(changed && replayed.error().message.starts_with(file.path() + ": byte "));
    return FuzzOutcome::refused;
  }
  if (changed) return FuzzOutcome::accepted;
  KVRM_CHECK_EQ(replayed->steps, run.given.steps);
  KVRM_CHECK(replayed->outputs == run.given.outputs);
  return FuzzOutcome::accepted;
}

}  // namespace kvrm
