#include "harness/config/diagnose.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

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

}  // namespace

tl::unexpected<Error> config_error(const SourcePlace& place, std::string_view path,
                                   std::string_view found, std::string_view allowed) {
  const std::string where = path.empty() ? "" : fmt::format(" {}:", path);
  return bad_input(
      fmt::format("{}:{} found {}, allowed: {}", place_text(place), where, found, allowed));
}

std::string describe(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::nothing:
      return node.text.empty() ? "nothing" : node.text;
    case ConfigNode::Kind::list:
      return "a list";
    case ConfigNode::Kind::map:
      return "a map";
    case ConfigNode::Kind::scalar:
      break;
  }
  const std::string_view quotes = node.quoted ? " (in quotes)" : "";
  if (node.text.size() <= kLongestQuote) return fmt::format("\"{}\"{}", node.text, quotes);
  return fmt::format("\"{}...\"{}", node.text.substr(0, kLongestQuote), quotes);
}

std::string join_names(std::span<const std::string> names) {
  return fmt::format("{}", fmt::join(names.begin(), names.end(), ", "));
}

std::string nearest_name_hint(std::string_view wrong, std::span<const std::string> names) {
  std::string_view nearest;
  std::size_t least = wrong.size() / 3 + 2;
  for (const std::string& name : names) {
    const std::size_t distance = edit_distance(wrong, name);
    if (distance < least) {
      least = distance;
      nearest = name;
    }
  }
  return nearest.empty() ? "" : fmt::format("; did you mean \"{}\"?", nearest);
}

}  // namespace kvrm
