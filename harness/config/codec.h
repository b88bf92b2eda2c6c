// How one kind of value is read from YAML, written to it, and described to people. Values only:
// which key holds which value is section.h's.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "harness/config/config_node.h"

namespace kvrm {

template <class V>
struct Codec {
  std::string allowed;                                      // "an integer from 1 to 64"
  std::function<std::optional<V>(const ConfigNode&)> read;  // none: not allowed
  std::function<std::string(const V&)> write;               // YAML text
  std::vector<std::string> choices;                         // a choice's names, for the nearest one
  std::vector<std::string> later_choices;                   // names that later versions will have
};

// The whole text as a number, or nothing. Numbers in quotes are text.
template <class V>
std::optional<V> parse_number(const ConfigNode& node) {
  if (node.kind != ConfigNode::Kind::scalar || node.quoted) return std::nullopt;
  V value{};
  const char* const end = node.text.data() + node.text.size();
  const auto [stop, error] = std::from_chars(node.text.data(), end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

// Inclusive range.
template <class V>
Codec<V> integer(V min, V max) {
  Codec<V> codec;
  codec.allowed = fmt::format("an integer from {} to {}", min, max);
  codec.read = [=](const ConfigNode& node) -> std::optional<V> {
    const auto value = parse_number<V>(node);
    return value && *value >= min && *value <= max ? value : std::nullopt;
  };
  codec.write = [](const V& value) { return fmt::format("{}", value); };
  return codec;
}

// A finite number in an inclusive range. V is double or float.
template <class V = double>
Codec<V> number(V min, V max) {
  Codec<V> codec;
  codec.allowed = fmt::format("a number from {} to {}", min, max);
  codec.read = [=](const ConfigNode& node) -> std::optional<V> {
    const auto value = parse_number<V>(node);
    return value && *value >= min && *value <= max ? value : std::nullopt;  // false for NaN
  };
  codec.write = [](const V& value) { return fmt::format("{}", value); };
  return codec;
}

template <class V>
Codec<std::vector<V>> list_of(Codec<V> element) {
  Codec<std::vector<V>> codec;
  codec.allowed = fmt::format("a list, each element {}", element.allowed);
  codec.read = [element](const ConfigNode& node) -> std::optional<std::vector<V>> {
    if (node.kind != ConfigNode::Kind::list) return std::nullopt;
    std::vector<V> values;
    for (const ConfigNode& child : node.children) {
      const auto value = element.read(child);
      if (!value) return std::nullopt;
      values.push_back(*value);
    }
    return values;
  };
  codec.write = [element](const std::vector<V>& values) {
    std::string text = "[";
    for (std::size_t i = 0; i < values.size(); ++i) {
      text += (i > 0 ? ", " : "") + element.write(values[i]);
    }
    return text + "]";
  };
  return codec;
}

template <class V>
Codec<V> choice(std::vector<std::pair<std::string, V>> names,
                std::vector<std::string> later_choices = {}) {
  Codec<V> codec;
  for (const auto& [name, value] : names) {
    codec.choices.push_back(name);
    codec.allowed += (codec.allowed.empty() ? "" : ", ") + name;
  }
  codec.later_choices = std::move(later_choices);
  codec.read = [names](const ConfigNode& node) -> std::optional<V> {
    for (const auto& [name, value] : names) {  // lists and maps have no text
      if (name == node.text) return value;
    }
    return std::nullopt;
  };
  codec.write = [names](const V& value) {
    for (const auto& [name, named] : names) {
      if (named == value) return name;
    }
    return std::string();
  };
  return codec;
}

// One of these names, kept as text.
Codec<std::string> name_choice(const std::vector<std::string>& names);

Codec<std::string> text();  // any text, empty too
Codec<std::string> non_empty_text();
Codec<std::string> identifier();  // letters, digits, `_ - .`, at most 80
Codec<bool> boolean();
Codec<std::uint64_t> byte_size(std::uint64_t min);  // 4096, 64KiB, 64MiB, 1GiB
Codec<double> warmup_share();                       // none, or {share: 0.1}

}  // namespace kvrm
