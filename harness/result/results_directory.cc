#include "harness/result/results_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

namespace kvrm {
namespace {

using Path = std::filesystem::path;

tl::unexpected<Error> cannot_write(const Path& path, const std::string& cause) {
  return fail(ExitCode::incomplete, fmt::format("{}: cannot be written: {}", path.string(), cause));
}

tl::unexpected<Error> cannot_write(const Path& path, int error) {
  return cannot_write(path, std::generic_category().message(error));
}

// A file descriptor that is closed at the latest when it goes out of scope.
class OpenFile {
 public:
  OpenFile(const Path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }

  bool ok() const { return fd_ >= 0; }
  int get() const { return fd_; }
  // Some file systems report a full disk only here.
  int close() { return ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

bool write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// `named` is what the message calls the file.
Status write_synced(const Path& path, const Path& named, std::string_view content) {
  OpenFile file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file.ok()) return cannot_write(named, errno);
  const bool written = write_all(file.get(), content) && ::fsync(file.get()) == 0;
  if (!written) return cannot_write(named, errno);
  if (file.close() != 0) return cannot_write(named, errno);
  return {};
}

// Temporary files that vanish again unless they were renamed.
class TemporaryFiles {
 public:
  explicit TemporaryFiles(Path directory) : directory_(std::move(directory)) {}
  TemporaryFiles(const TemporaryFiles&) = delete;
  TemporaryFiles& operator=(const TemporaryFiles&) = delete;
  ~TemporaryFiles() {
    for (const std::string& name : names_) ::unlink(temporary(name).c_str());
  }

  Status write(const ResultFile& file) {
    names_.push_back(file.name);
    return write_synced(temporary(file.name), directory_ / file.name, file.content);
  }

  Status rename_all() {
    for (const std::string& name : names_) {
      const Path target = directory_ / name;
      if (::rename(temporary(name).c_str(), target.c_str()) != 0)
        return cannot_write(target, errno);
    }
    names_.clear();
    return {};
  }

 private:
  Path temporary(const std::string& name) const {
    return directory_ / fmt::format(".{}.{}.partial", name, ::getpid());
  }

  Path directory_;
  std::vector<std::string> names_;
};

Status make_directory(const Path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return cannot_write(directory, error.message());
  return {};
}

}  // namespace

Path default_results_directory(std::string_view name, std::time_t now) {
  std::string safe(name.empty() ? "experiment" : name);
  for (char& c : safe) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-';
    if (!plain) c = '-';
  }
  std::tm parts{};
  gmtime_r(&now, &parts);
  char time[32];
  std::strftime(time, sizeof time, "%Y%m%dT%H%M%SZ", &parts);
  return Path("results") / fmt::format("{}-{}", safe, time);
}

Status prepare_results_directory(const Path& directory) {
  if (const Status made = make_directory(directory); !made) return made;
  const Path probe = directory / fmt::format(".probe.{}.partial", ::getpid());
  const Status written = write_synced(probe, directory, "kvrm");
  ::unlink(probe.c_str());
  return written;
}

Status write_results_directory(const Path& directory, std::span<const ResultFile> files) {
  if (const Status made = make_directory(directory); !made) return made;
  TemporaryFiles temporaries(directory);
  for (const ResultFile& file : files) {
    if (file.content.empty()) continue;
    if (const Status written = temporaries.write(file); !written) return written;
  }
  if (const Status renamed = temporaries.rename_all(); !renamed) return renamed;
  for (const ResultFile& file : files) {
    if (file.content.empty()) ::unlink((directory / file.name).c_str());
  }
  // The names themselves must survive a power cut too.
  const OpenFile entry(directory, O_RDONLY | O_DIRECTORY);
  if (!entry.ok() || ::fsync(entry.get()) != 0) return cannot_write(directory, errno);
  return {};
}

}  // namespace kvrm
