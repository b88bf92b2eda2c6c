#include "harness/config/config_node.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace kvrm {

std::string place_text(const SourcePlace& place) {
  if (place.line == 0) return place.source;
  return fmt::format("{}:{}:{}", place.source, place.line, place.column);
}

const ConfigNode* ConfigNode::find(std::string_view name) const {
  if (kind != Kind::map) return nullptr;
  const auto found = std::find_if(children.begin(), children.end(),
                                  [&](const ConfigNode& child) { return child.key == name; });
  return found == children.end() ? nullptr : &*found;
}

ConfigNode* ConfigNode::find(std::string_view name) {
  return const_cast<ConfigNode*>(std::as_const(*this).find(name));
}

ConfigNode& ConfigNode::entry(std::string_view name, const SourcePlace& made_at) {
  if (ConfigNode* present = find(name)) return *present;
  ConfigNode made;
  made.key = name;
  made.key_place = made_at;
  made.place = made_at;
  return children.emplace_back(std::move(made));
}

std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> steps;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    steps.emplace_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return steps;
}

std::string join_path(std::string_view path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

const ConfigNode* list_element(const ConfigNode& list, std::string_view step) {
  for (std::size_t i = 0; i < list.children.size(); ++i) {
    if (step == std::to_string(i)) return &list.children[i];
  }
  for (const char* naming_key : {"label", "name", "kind"}) {
    for (const ConfigNode& child : list.children) {
      const ConfigNode* name = child.find(naming_key);
      if (name != nullptr && name->text == step) return &child;
    }
  }
  return nullptr;
}

PathLookup look_up(const ConfigNode& root, std::string_view path) {
  const ConfigNode* node = &root;
  for (const std::string& step : split_path(path)) {
    const ConfigNode* next =
        node->kind == ConfigNode::Kind::list ? list_element(*node, step) : node->find(step);
    if (next == nullptr) return {node, false};
    node = next;
  }
  return {node, true};
}

}  // namespace kvrm
