// Text that fits a terminal of 100 columns: breaking, shortening, paint. What it says is the
// tables' business.
#pragma once

#include <cstddef>
#include <string>

namespace kvrm {

inline constexpr std::size_t kTerminalWidth = 100;
inline constexpr const char* kPaintBest = "\x1b[1;32m";
inline constexpr const char* kPaintAlarm = "\x1b[1;31m";

// The text in lines of at most the terminal's width, broken at spaces, each with its end.
std::string wrapped(const std::string& text);
// At most `width` characters; a last "~" stands for what is gone.
std::string shortened(const std::string& text, std::size_t width);
std::string painted(const std::string& text, const char* paint, bool color);

}  // namespace kvrm
