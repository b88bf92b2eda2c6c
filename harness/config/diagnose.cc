#include "harness/config/diagnose.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "harness/config/load_yaml.h"

namespace kvrm {
namespace {

constexpr std::size_t kLongestQuote = 60;

// Levenshtein's distance, one row of the table at a time.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j + 1] + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::string shortened(const std::string& text) {
  return text.size() <= kLongestQuote ? text : text.substr(0, kLongestQuote) + "...";
}

// A message is one line, whatever was written in quotes: control characters as YAML escapes them.
std::string on_one_line(const std::string& text) {
  std::string line;
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte >= 0x20 && byte != 0x7f) {
      line += character;
    } else if (character == '\n') {
      line += "\\n";
    } else {
      line += fmt::format("\\x{:02x}", byte);
    }
  }
  return line;
}

}  // namespace

tl::unexpected<Error> config_error(const SourcePlace& place, std::string_view path,
                                   std::string_view found, std::string_view allowed) {
  const std::string where = path.empty() ? "" : fmt::format(" {}:", path);
  return bad_input(on_one_line(
      fmt::format("{}:{} found {}, allowed: {}", place_text(place), where, found, allowed)));
}

std::string describe(const ConfigNode& node) {
  if (node.kind == ConfigNode::Kind::nothing) return node.text.empty() ? "nothing" : node.text;
  if (node.kind == ConfigNode::Kind::scalar) {
    return fmt::format("\"{}\"{}", shortened(node.text), node.quoted ? " (in quotes)" : "");
  }
  const std::string name = node.kind == ConfigNode::Kind::list ? "list" : "map";
  if (node.children.empty()) return "an empty " + name;
  return fmt::format("the {} {}", name, shortened(emit_yaml_flow(node)));
}

std::string join_names(std::span<const std::string> names) {
  return fmt::format("{}", fmt::join(names.begin(), names.end(), ", "));
}

std::string nearest_name_hint(std::string_view wrong, std::span<const std::string> names) {
  std::string_view nearest;
  std::size_t least = wrong.size() / 3 + 2;
  for (const std::string& name : names) {
    const bool is_beginning = wrong.size() >= 3 && name.starts_with(wrong);
    const std::size_t distance = is_beginning ? 1 : edit_distance(wrong, name);
    if (distance < least) {
      least = distance;
      nearest = name;
    }
  }
  return nearest.empty() ? "" : fmt::format("; did you mean \"{}\"?", nearest);
}

}  // namespace kvrm
