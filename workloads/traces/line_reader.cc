#include "workloads/traces/line_reader.h"

#include <fmt/format.h>

#include <filesystem>

namespace kvrm {
namespace {

constexpr std::size_t kLongestLine = std::size_t{4} << 20;

bool is_control(char character) {
  const auto byte = static_cast<unsigned char>(character);
  return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

}  // namespace

Result<LineReader> LineReader::open(const std::string& file) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(file, ignored);
  if (!std::filesystem::exists(status)) {
    return bad_input(fmt::format("{}: found no such file, allowed: a trace file", file));
  }
  if (std::filesystem::is_directory(status)) {
    return bad_input(fmt::format("{}: found a directory, allowed: a trace file", file));
  }
  std::FILE* const stream = std::fopen(file.c_str(), "rb");
  if (stream == nullptr) {
    return bad_input(fmt::format(
        "{}: found a file that cannot be opened, allowed: a readable trace file", file));
  }
  return LineReader(file, stream);
}

Result<std::optional<std::string>> LineReader::next() {
  std::string line;
  ++line_number_;
  for (int character = getc_unlocked(stream_.get()); character != '\n';
       character = getc_unlocked(stream_.get())) {
    if (character == EOF) {
      if (line.empty()) return std::optional<std::string>();
      break;
    }
    if (line.size() == kLongestLine) {
      return bad_input(fmt::format("{}:{}:{}: found a longer line, allowed: lines of at most 4 MiB",
                                   file_, line_number_, line.size() + 1));
    }
    line.push_back(static_cast<char>(character));
  }
  return finish_line(std::move(line));
}

Result<std::optional<std::string>> LineReader::finish_line(std::string line) const {
  if (line.ends_with('\r')) line.pop_back();
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (!is_control(line[i])) continue;
    return bad_input(fmt::format("{}:{}:{}: found a control character, allowed: text", file_,
                                 line_number_, i + 1));
  }
  return std::optional<std::string>(std::move(line));
}

}  // namespace kvrm
