#include "harness/config/codec.h"

#include <array>
#include <cctype>
#include <string_view>

#include "harness/base/units.h"

namespace kvrm {
namespace {

constexpr std::size_t kLongestIdentifier = 80;
constexpr double kLargestWarmupShare = 0.9;

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 4> kByteUnits = {
    {{"KiB", kKiB}, {"MiB", kMiB}, {"GiB", kGiB}, {"B", 1}}};

std::optional<std::string> read_text(const ConfigNode& node) {
  if (node.kind != ConfigNode::Kind::scalar) return std::nullopt;
  return node.text;
}

// Of defaults only, which hold nothing that needs escaping.
std::string write_text(const std::string& value) { return value.empty() ? "\"\"" : value; }

bool is_identifier(const std::string& text) {
  if (text.empty() || text.size() > kLongestIdentifier) return false;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 &&
        std::string_view("_-.").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

std::optional<std::uint64_t> parse_byte_size(const ConfigNode& node) {
  if (node.kind != ConfigNode::Kind::scalar || node.quoted) return std::nullopt;
  ConfigNode digits = node;
  std::uint64_t unit_bytes = 1;
  for (const auto& [unit, bytes] : kByteUnits) {
    if (!node.text.ends_with(unit)) continue;
    digits.text.resize(node.text.size() - unit.size());
    while (digits.text.ends_with(' ')) digits.text.pop_back();
    unit_bytes = bytes;
    break;
  }
  const auto count = parse_number<std::uint64_t>(digits);
  if (!count || *count > std::numeric_limits<std::int64_t>::max() / unit_bytes) return std::nullopt;
  return *count * unit_bytes;
}

}  // namespace

Codec<std::string> name_choice(const std::vector<std::string>& names) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& name : names) pairs.emplace_back(name, name);
  return choice(std::move(pairs));
}

Codec<std::string> text() { return {"text", read_text, write_text, {}, {}}; }

Codec<std::string> non_empty_text() {
  const auto read = [](const ConfigNode& node) {
    auto value = read_text(node);
    return value && value->empty() ? std::nullopt : value;
  };
  return {"text that is not empty", read, write_text, {}, {}};
}

Codec<std::string> identifier() {
  const auto read = [](const ConfigNode& node) {
    auto value = read_text(node);
    return value && is_identifier(*value) ? value : std::nullopt;
  };
  return {"a name of at most 80 letters, digits, '_', '-' and '.'", read, write_text, {}, {}};
}

Codec<bool> boolean() { return choice<bool>({{"true", true}, {"false", false}}); }

Codec<std::uint64_t> byte_size(std::uint64_t min) {
  const auto read = [min](const ConfigNode& node) {
    const auto value = parse_byte_size(node);
    return value && *value >= min ? value : std::nullopt;
  };
  const auto write = [](const std::uint64_t& value) { return fmt::format("{}", value); };
  return {fmt::format("a byte size from {}, such as 65536, 64KiB, 64MiB or 1GiB", min),
          read,
          write,
          {},
          {}};
}

Codec<double> warmup_share() {
  const Codec<double> share = number(0.0, kLargestWarmupShare);
  const auto read = [share](const ConfigNode& node) -> std::optional<double> {
    if (node.kind == ConfigNode::Kind::scalar && node.text == "none") return 0.0;
    if (node.kind != ConfigNode::Kind::map || node.children.size() != 1) return std::nullopt;
    const ConfigNode* value = node.find("share");
    return value == nullptr ? std::nullopt : share.read(*value);
  };
  const auto write = [](const double& value) {
    return value == 0 ? std::string("none") : fmt::format("{{share: {}}}", value);
  };
  return {fmt::format("none, or {{share: S}} with S {}", share.allowed), read, write, {}, {}};
}

}  // namespace kvrm
