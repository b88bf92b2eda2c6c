// A YAML document as a tree in which every key and value knows where it came from. It is the form
// between the file and the typed experiment: `extends`, `--set` and the sweep work on it. It knows
// no key by name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvrm {

// Where a value was written. Prints as FILE:LINE:COL, or as the `--set key.path=value` it came
// from.
struct SourcePlace {
  std::string source;        // the file as named by the user, or the whole --set
  std::uint32_t line = 0;    // from 1; 0: the source has no lines
  std::uint32_t column = 0;  // from 1
};
std::string place_text(const SourcePlace& place);

struct ConfigNode {
  enum class Kind : std::uint8_t { nothing, scalar, list, map };

  Kind kind = Kind::nothing;
  std::string text;  // scalar; also a `nothing` that was written as the word null
  bool quoted =
      false;  // scalar: written in quotes, so it is text even where it looks like a number
  SourcePlace place;
  std::string key;                   // inside a map
  SourcePlace key_place;             // inside a map
  std::vector<ConfigNode> children;  // list and map, in the order of the file

  const ConfigNode* find(std::string_view name) const;  // map entry; null: absent, or no map
  ConfigNode* find(std::string_view name);
  // The entry of a map, made when it is absent.
  ConfigNode& entry(std::string_view name, const SourcePlace& made_at);
};

// The node at a dotted path, or the deepest node on the way to it. A list element is named by its
// index, or by its `label` or `name`.
struct PathLookup {
  const ConfigNode* node = nullptr;
  bool complete = false;
};
PathLookup look_up(const ConfigNode& root, std::string_view path);

std::vector<std::string> split_path(std::string_view path);
std::string join_path(std::string_view path, std::string_view key);

// The element of a list that one step of a path names; null: none.
const ConfigNode* list_element(const ConfigNode& list, std::string_view step);

}  // namespace kvrm
