// A log of step descriptors: a file with everything that a replay of a run needs. It knows how
// entries are framed and guarded, not what is in them: entries of kind `step` hold committed
// records, every other kind is the engine's own.
//
// File: a header, then entries of {kind, length, checksum, bytes}, the last of kind `end`. All
// integers are little-endian; nothing is aligned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engines/descriptor/step_limits.h"
#include "harness/base/result.h"

namespace kvrm {

enum class LogEntryKind : std::uint32_t {
  end = 0,
  step = 1,           // a committed record, byte for byte
  first_engine = 16,  // this and all above: opaque bytes, named by the engine
};

struct DescriptorLogInfo {
  StepLimits limits;
  std::uint32_t chunk_tokens = 0;
  std::uint32_t reserved = 0;
  std::uint64_t fingerprint = 0;  // of whatever must be equal for a replay
};
static_assert(sizeof(DescriptorLogInfo) == 72);

struct LogEntry {
  LogEntryKind kind = LogEntryKind::end;
  std::uint64_t offset = 0;  // of the entry in the file
  std::vector<std::byte> bytes;
};

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

class DescriptorLogWriter {
 public:
  // Replaces a file that is there. Errors, here and below, name the file and the byte.
  static Result<DescriptorLogWriter> create(const std::string& path, const DescriptorLogInfo& info);
  Status append(LogEntryKind kind, std::span<const std::byte> bytes);
  // Without it the log counts as cut off.
  Status close();
  std::uint64_t bytes() const { return offset_; }

 private:
  DescriptorLogWriter(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  Status write(std::span<const std::byte> bytes);

  std::string path_;
  std::unique_ptr<std::FILE, CloseFile> file_;
  std::uint64_t offset_ = 0;
  std::uint64_t entries_ = 0;
};

class DescriptorLogReader {
 public:
  static Result<DescriptorLogReader> open(const std::string& path);
  const DescriptorLogInfo& info() const { return info_; }
  // The next entry; none at the end of a whole log. After an error nothing more can be read.
  Result<std::optional<LogEntry>> next();

 private:
  DescriptorLogReader(std::string path, std::FILE* file, std::uint64_t size)
      : path_(std::move(path)), file_(file), size_(size) {}
  Status read_header();
  Status read(void* to, std::uint64_t bytes, const char* what);
  tl::unexpected<Error> error_at(std::uint64_t offset, const std::string& what) const;

  std::string path_;
  std::unique_ptr<std::FILE, CloseFile> file_;
  std::uint64_t size_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t entries_ = 0;
  bool ended_ = false;
  DescriptorLogInfo info_;
};

}  // namespace kvrm
