// What targets share: numbers off the front of the input, the rest as a file that has a name, and
// the form that every error of a reader must have. Knows no format.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "harness/base/result.h"
#include "property_tests/fuzz/fuzz_target.h"

namespace kvrm {

// Takes values off the front; zeros where nothing is left.
class FuzzReader {
 public:
  explicit FuzzReader(FuzzBytes bytes) : left_(bytes) {}

  template <class T>
  T take() {
    T value{};
    const FuzzBytes bytes = take_bytes(sizeof(T));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  FuzzBytes take_bytes(std::size_t count) {
    const FuzzBytes bytes = left_.first(std::min(count, left_.size()));
    left_ = left_.subspan(bytes.size());
    return bytes;
  }
  // Up to the separator, which is taken too, or to the end.
  std::string take_text(std::string_view separator);
  FuzzBytes rest() const { return left_; }
  bool empty() const { return left_.empty(); }

 private:
  FuzzBytes left_;
};

inline std::string_view as_text(FuzzBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A file in memory for as long as this lives. Its name is the same each time it is the only one.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content = {});
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  const std::string& path() const { return path_; }
  std::string content() const;

 private:
  int descriptor_ = -1;
  std::string path_;
};

// CHECKs that the error is of bad input and one line of bounded length without control characters.
void check_error_form(const Error& error);

// The same, and that the message begins with the place: `file`, then `:LINE:COL: ` with numbers
// from 1 or, where the file as a whole is wrong, `: `.
void check_error_place(const Error& error, std::string_view file);

}  // namespace kvrm
