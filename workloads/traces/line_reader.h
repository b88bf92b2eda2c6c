// Lines of a text file, one at a time and bounded in length, so that a file of any size streams and
// a binary one is refused. Accepts CRLF and a missing final newline.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "harness/base/result.h"

namespace kvrm {

class LineReader {
 public:
  static Result<LineReader> open(const std::string& file);

  // The next line without its end, none at the end of the file.
  Result<std::optional<std::string>> next();
  std::uint64_t line_number() const { return line_number_; }  // of the last line, from 1
  const std::string& file() const { return file_; }

 private:
  struct CloseFile {
    void operator()(std::FILE* open_file) const { std::fclose(open_file); }
  };

  LineReader(std::string file, std::FILE* stream) : file_(std::move(file)), stream_(stream) {}
  Result<std::optional<std::string>> finish_line(std::string line) const;

  std::string file_;
  std::unique_ptr<std::FILE, CloseFile> stream_;
  std::uint64_t line_number_ = 0;
};

}  // namespace kvrm
