#include "property_tests/fuzz/fuzz_input.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/base/check.h"

namespace kvrm {
namespace {

constexpr std::size_t kLongestMessage = 16'384;

// "17:" off the front of the text, a number from 1; false where it is not there.
bool take_number(std::string_view& text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || text.front() == '0') return false;
  if (digits == text.size() || text[digits] != ':') return false;
  text.remove_prefix(digits + 1);
  return true;
}

}  // namespace

std::string FuzzReader::take_text(std::string_view separator) {
  const std::string_view text = as_text(left_);
  const std::size_t at = text.find(separator);
  if (at == std::string_view::npos) return std::string(as_text(take_bytes(left_.size())));
  std::string taken(text.substr(0, at));
  take_bytes(at + separator.size());
  return taken;
}

MemoryFile::MemoryFile(std::string_view content) : descriptor_(memfd_create("kvrm_fuzz", 0)) {
  KVRM_CHECK(descriptor_ >= 0);
  path_ = fmt::format("/proc/self/fd/{}", descriptor_);
  const auto size = static_cast<ssize_t>(content.size());
  KVRM_CHECK_EQ(write(descriptor_, content.data(), content.size()), size);
}

MemoryFile::~MemoryFile() { close(descriptor_); }

std::string MemoryFile::content() const {
  const off_t size = lseek(descriptor_, 0, SEEK_END);
  std::string text(static_cast<std::size_t>(size), '\0');
  KVRM_CHECK_EQ(pread(descriptor_, text.data(), text.size(), 0), size);
  return text;
}

void check_error_form(const Error& error) {
  KVRM_CHECK(error.code == ExitCode::bad_input);
  KVRM_CHECK(!error.message.empty());
  KVRM_CHECK_LT(error.message.size(), kLongestMessage);
  for (const char character : error.message) {
    const auto byte = static_cast<unsigned char>(character);
    KVRM_CHECK(byte >= 0x20 || byte == '\t');
  }
}

void check_error_place(const Error& error, std::string_view file) {
  check_error_form(error);
  std::string_view rest = error.message;
  KVRM_CHECK_EQ(rest.substr(0, file.size()), file);
  rest.remove_prefix(file.size());
  KVRM_CHECK(rest.starts_with(":"));
  rest.remove_prefix(1);
  if (!rest.starts_with(" ")) KVRM_CHECK(take_number(rest) && take_number(rest));
  KVRM_CHECK(rest.starts_with(" ") && rest.size() > 1);
}

}  // namespace kvrm
