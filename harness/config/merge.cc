#include "harness/config/merge.h"

#include <fmt/format.h>

#include <utility>

#include "harness/config/diagnose.h"
#include "harness/config/load_yaml.h"
#include "harness/config/paths.h"

namespace kvrm {
namespace {

bool changes_kind(const ConfigNode& base, const ConfigNode& over) {
  if (over.key != "arrivals" && over.key != "prompt_tokens" && over.key != "output_tokens")
    return false;
  const ConfigNode* base_kind = base.find("kind");
  const ConfigNode* over_kind = over.find("kind");
  return over_kind != nullptr && (base_kind == nullptr || base_kind->text != over_kind->text);
}

std::vector<std::string> element_names(const ConfigNode& list) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < list.children.size(); ++i) {
    std::string name = std::to_string(i);
    for (const char* naming_key : {"label", "name", "kind"}) {
      const ConfigNode* node = list.children[i].find(naming_key);
      if (node == nullptr) continue;
      name = node->text;
      break;
    }
    names.push_back(std::move(name));
  }
  return names;
}

// The child that one step names, made where a map lacks it; null where there can be none.
ConfigNode* step_into(ConfigNode& node, const std::string& step, const SourcePlace& place) {
  if (node.kind == ConfigNode::Kind::list) {
    return const_cast<ConfigNode*>(list_element(node, step));
  }
  if (node.kind == ConfigNode::Kind::nothing) node.kind = ConfigNode::Kind::map;
  return node.kind == ConfigNode::Kind::map ? &node.entry(step, place) : nullptr;
}

tl::unexpected<Error> refuse_step(const ConfigNode& node, const std::string& path,
                                  const std::string& step, const SourcePlace& place) {
  if (node.kind != ConfigNode::Kind::list) {
    return config_error(place, path, fmt::format("\"{}\" below a value that is no map", step),
                        "keys of maps, indices and labels of lists");
  }
  const std::vector<std::string> names = element_names(node);
  return config_error(place, path, fmt::format("\"{}\", which names no element of the list", step),
                      fmt::format("an index below {}, {}{}", node.children.size(),
                                  join_names(names), nearest_name_hint(step, names)));
}

}  // namespace

void merge_over(ConfigNode& base, const ConfigNode& over) {
  if (base.kind != ConfigNode::Kind::map || over.kind != ConfigNode::Kind::map ||
      changes_kind(base, over)) {
    base = over;
    return;
  }
  for (const ConfigNode& child : over.children) {
    if (ConfigNode* present = base.find(child.key)) {
      merge_over(*present, child);
    } else {
      base.children.push_back(child);
    }
  }
}

Status set_path(ConfigNode& root, const std::string& path, const ConfigNode& value) {
  const std::vector<std::string> steps = split_path(path);
  ConfigNode* parent = &root;
  ConfigNode* node = &root;
  for (const std::string& step : steps) {
    parent = node;
    node = step_into(*parent, step, value.place);
    if (node == nullptr) return refuse_step(*parent, path, step, value.place);
  }
  ConfigNode named = value;
  named.key = node->key;
  named.key_place = value.place;
  if (parent->kind == ConfigNode::Kind::list) {
    merge_over(*node, named);
    return {};
  }
  // Laid over the enclosing map, so that a new `kind` takes the old kind's keys with it.
  ConfigNode over = *parent;
  over.children = {std::move(named)};
  merge_over(*parent, over);
  return {};
}

Result<Override> parse_override(const std::string& text) {
  const std::string source = "--set " + text;
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return config_error({source, 0, 0}, "", "no key and value", "--set key.path=value");
  }
  Override override_of{text.substr(0, equals), {}};
  for (const std::string& step : split_path(override_of.path)) {
    if (step.empty()) {
      return config_error({source, 0, 0}, override_of.path, "an empty step of the path",
                          "keys joined by single dots");
    }
  }
  Result<ConfigNode> value = load_yaml_text(text.substr(equals + 1), source, false);
  if (!value) return tl::unexpected<Error>(value.error());
  if (value->place.source.empty()) value->place.source = source;
  value->key = split_path(override_of.path).back();
  if (Status status = resolve_paths(*value, override_of.path); !status)
    return tl::unexpected<Error>(status.error());
  override_of.value = std::move(*value);
  return override_of;
}

}  // namespace kvrm
