#include "harness/config/section.h"

#include <fmt/format.h>

#include <algorithm>

#include "harness/base/check.h"
#include "harness/config/load_yaml.h"

namespace kvrm {
namespace {

bool has_kind(const KeyInfo& info, const std::string& kind) {
  return info.kinds.empty() || std::ranges::find(info.kinds, kind) != info.kinds.end();
}

const KeyInfo* find_info(std::span<const KeyInfo> keys, std::string_view name) {
  const auto found = std::ranges::find(keys, name, &KeyInfo::name);
  return found == keys.end() ? nullptr : &*found;
}

std::vector<std::string> allowed_names(std::span<const KeyInfo> keys, const std::string& kind) {
  std::vector<std::string> names;
  for (const KeyInfo& info : keys) {
    if (info.presence != Presence::later && has_kind(info, kind)) names.push_back(info.name);
  }
  return names;
}

std::string allowed_text(const std::vector<std::string>& names) {
  return names.empty() ? "no key" : join_names(names);
}

Status check_key(const ConfigNode& node, const std::string& path, std::span<const KeyInfo> keys,
                 const std::string& kind) {
  const std::vector<std::string> names = allowed_names(keys, kind);
  const KeyInfo* info = find_info(keys, node.key);
  if (info == nullptr) {
    return config_error(node.key_place, path, fmt::format("an unknown key \"{}\"", node.key),
                        allowed_text(names) + nearest_name_hint(node.key, names));
  }
  if (info->presence == Presence::later) {
    return config_error(node.key_place, path,
                        fmt::format("\"{}\", which this version does not support", node.key),
                        allowed_text(names));
  }
  if (!has_kind(*info, kind)) {
    return config_error(
        node.key_place, path,
        fmt::format("\"{}\", which kind \"{}\" does not have (kinds that have it: {})", node.key,
                    kind, join_names(info->kinds)),
        allowed_text(names));
  }
  return {};
}

}  // namespace

std::string kind_of(const ConfigNode& map, std::span<const KeyInfo> keys,
                    const std::string& inherited) {
  const KeyInfo* info = find_info(keys, "kind");
  if (info == nullptr) return inherited;
  const ConfigNode* node = map.find("kind");
  return node == nullptr ? info->fallback : node->text;
}

Status check_keys(const ConfigNode& map, const std::string& path, std::span<const KeyInfo> keys,
                  const std::string& kind) {
  if (map.kind != ConfigNode::Kind::map) {
    return config_error(map.place, path, describe(map),
                        "a map of " + allowed_text(allowed_names(keys, kind)));
  }
  for (const ConfigNode& child : map.children) {
    if (Status status = check_key(child, join_path(path, child.key), keys, kind); !status) {
      return status;
    }
  }
  for (const KeyInfo& info : keys) {
    if (info.presence != Presence::required || !has_kind(info, kind)) continue;
    if (map.find(info.name) != nullptr) continue;
    return config_error(map.place, join_path(path, info.name), "nothing", info.allowed);
  }
  return {};
}

void write_defaults(ConfigNode& map, std::span<const KeyInfo> keys,
                    const std::string& inherited_kind) {
  if (map.kind != ConfigNode::Kind::map || keys.empty()) return;
  const std::string kind = kind_of(map, keys, inherited_kind);
  for (const KeyInfo& info : keys) {
    if (!has_kind(info, kind) || info.presence == Presence::later) continue;
    if (ConfigNode* present = map.find(info.name)) {
      write_defaults(*present, info.nested, kind);
    } else if (!info.nested.empty() && !info.is_list && info.presence == Presence::optional) {
      ConfigNode made;
      made.kind = ConfigNode::Kind::map;
      made.key = info.name;
      write_defaults(made, info.nested, kind);
      if (!made.children.empty()) map.children.push_back(std::move(made));
    } else if (info.presence == Presence::optional && !info.fallback.empty()) {
      Result<ConfigNode> value = load_yaml_text(info.fallback, info.name);
      KVRM_CHECK(value.has_value());
      value->key = info.name;
      map.children.push_back(std::move(*value));
    }
  }
  const auto rank = [&](const ConfigNode& child) {
    return find_info(keys, child.key) - keys.data();
  };
  std::ranges::stable_sort(map.children, {}, rank);
}

Status refuse_value(const ConfigNode& node, const std::string& path, const std::string& allowed,
                    std::span<const std::string> choices,
                    std::span<const std::string> later_choices) {
  if (std::ranges::find(later_choices, node.text) != later_choices.end()) {
    return config_error(node.place, path, describe(node) + ", which this version does not support",
                        allowed);
  }
  return config_error(node.place, path, describe(node),
                      allowed + nearest_name_hint(node.text, choices));
}

}  // namespace kvrm
