#include "engines/descriptor/descriptor_log.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/hash.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kMagic = 0x474f4c444d52564bULL;  // "KVRMDLOG"
constexpr std::uint32_t kVersion = 1;

struct FileHeader {
  std::uint64_t magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t header_bytes = 0;
  DescriptorLogInfo info;
  std::uint64_t checksum = 0;  // of all before it
};
static_assert(sizeof(FileHeader) == 96);

struct EntryHeader {
  std::uint32_t kind = 0;
  std::uint32_t reserved = 0;
  std::uint64_t length = 0;
  std::uint64_t checksum = 0;
};
static_assert(sizeof(EntryHeader) == 24);

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

std::uint64_t header_checksum_of(const FileHeader& header) {
  return hash_bytes(bytes_of(header).first(sizeof(FileHeader) - sizeof(std::uint64_t)));
}

// Its place in the log is part of it, so that entries cannot go missing or change places.
std::uint64_t entry_checksum(const EntryHeader& header, std::uint64_t place,
                             std::span<const std::byte> bytes) {
  const std::uint64_t head = hash_combine(
      hash_combine(hash_combine(KVRM_MUTATE(log_entries_have_no_place, place, 0U), header.kind),
                   header.reserved),
      header.length);
  return hash_bytes(bytes, head);
}

}  // namespace

Result<DescriptorLogWriter> DescriptorLogWriter::create(const std::string& path,
                                                        const DescriptorLogInfo& info) {
  DescriptorLogWriter writer(path, std::fopen(path.c_str(), "wb"));
  if (writer.file_ == nullptr) {
    return bad_input(fmt::format("{}: cannot be created: {}", path, std::strerror(errno)));
  }
  FileHeader header{.header_bytes = sizeof(FileHeader), .info = info};
  header.checksum = header_checksum_of(header);
  if (const Status wrote = writer.write(bytes_of(header)); !wrote) {
    return tl::unexpected(wrote.error());
  }
  return writer;
}

Status DescriptorLogWriter::write(std::span<const std::byte> bytes) {
  if (!bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) < bytes.size()) {
    return fail(ExitCode::incomplete, fmt::format("{}: byte {}: cannot be written: {}", path_,
                                                  offset_, std::strerror(errno)));
  }
  offset_ += bytes.size();
  return {};
}

Status DescriptorLogWriter::append(LogEntryKind kind, std::span<const std::byte> bytes) {
  KVRM_CHECK(file_ != nullptr);
  EntryHeader header{.kind = static_cast<std::uint32_t>(kind), .length = bytes.size()};
  header.checksum = entry_checksum(header, entries_++, bytes);
  const Status wrote = write(bytes_of(header));
  return wrote ? write(bytes) : wrote;
}

Status DescriptorLogWriter::close() {
  if (const Status wrote = append(LogEntryKind::end, {}); !wrote) return wrote;
  if (std::fclose(file_.release()) != 0) {
    return fail(ExitCode::incomplete, fmt::format("{}: byte {}: cannot be written: {}", path_,
                                                  offset_, std::strerror(errno)));
  }
  return {};
}

tl::unexpected<Error> DescriptorLogReader::error_at(std::uint64_t offset,
                                                    const std::string& what) const {
  return bad_input(fmt::format("{}: byte {}: {}", path_, offset, what));
}

Result<DescriptorLogReader> DescriptorLogReader::open(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    return bad_input(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  }
  DescriptorLogReader reader(path, file, 0);
  const long size = std::fseek(file, 0, SEEK_END) == 0 ? std::ftell(file) : -1;
  if (size < 0 || std::fseek(file, 0, SEEK_SET) != 0) {
    return bad_input(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  }
  reader.size_ = static_cast<std::uint64_t>(size);
  if (const Status read = reader.read_header(); !read) return tl::unexpected(read.error());
  return reader;
}

Status DescriptorLogReader::read_header() {
  FileHeader header;
  if (const Status got = read(&header, sizeof(header), "its header"); !got) return got;
  if (header.magic != kMagic) return error_at(0, "not a descriptor log");
  if (header.version != kVersion || header.header_bytes != sizeof(FileHeader)) {
    return error_at(8, fmt::format("version {} of the format; this program reads version {}",
                                   header.version, kVersion));
  }
  if (header_checksum_of(header) != header.checksum) {
    return error_at(0, "the header is damaged: its checksum does not match");
  }
  info_ = header.info;
  return {};
}

Status DescriptorLogReader::read(void* to, std::uint64_t bytes, const char* what) {
  if (bytes > size_ - offset_) {
    return error_at(offset_, fmt::format("cut off: {} takes {} bytes, and {} are left", what, bytes,
                                         size_ - offset_));
  }
  if (bytes > 0 && std::fread(to, 1, bytes, file_.get()) < bytes) {
    return error_at(offset_, fmt::format("{} cannot be read: {}", what, std::strerror(errno)));
  }
  offset_ += bytes;
  return {};
}

Result<std::optional<LogEntry>> DescriptorLogReader::next() {
  if (ended_) return std::nullopt;
  const std::uint64_t start = offset_;
  EntryHeader header;
  if (const Status got = read(&header, sizeof(header), "the next entry's header"); !got) {
    return tl::unexpected(got.error());
  }
  LogEntry entry{.kind = static_cast<LogEntryKind>(header.kind), .offset = start, .bytes = {}};
  if (header.length <= size_ - offset_) entry.bytes.resize(header.length);
  if (const Status got = read(entry.bytes.data(), header.length, "an entry"); !got) {
    return tl::unexpected(got.error());
  }
  if (entry_checksum(header, entries_, entry.bytes) != header.checksum) {
    return error_at(start,
                    fmt::format("entry {} is damaged: its checksum does not match", entries_));
  }
  ++entries_;
  if (entry.kind != LogEntryKind::end) return entry;
  ended_ = true;
  if (KVRM_MUTATE(log_bytes_behind_end, offset_ != size_, false)) {
    return error_at(offset_, fmt::format("{} bytes behind the log's end", size_ - offset_));
  }
  return std::nullopt;
}

}  // namespace kvrm
