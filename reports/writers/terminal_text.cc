#include "reports/writers/terminal_text.h"

namespace kvrm {

std::string wrapped(const std::string& text) {
  std::string out;
  std::size_t start = 0;
  while (text.size() - start > kTerminalWidth) {
    std::size_t end = text.rfind(' ', start + kTerminalWidth);
    if (end == std::string::npos || end <= start) end = start + kTerminalWidth;
    out += text.substr(start, end - start) + "\n";
    start = text[end] == ' ' ? end + 1 : end;
  }
  return out + text.substr(start) + "\n";
}

std::string shortened(const std::string& text, std::size_t width) {
  return text.size() <= width ? text : text.substr(0, width - 1) + "~";
}

std::string painted(const std::string& text, const char* paint, bool color) {
  return color ? paint + text + "\x1b[0m" : text;
}

}  // namespace kvrm
