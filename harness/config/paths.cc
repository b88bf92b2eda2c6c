#include "harness/config/paths.h"

#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "harness/config/diagnose.h"

namespace kvrm {
namespace {

constexpr std::string_view kVariable = "${KVRM_DATA_DIR}";

// Whether the key at a path holds a file name.
bool names_file(std::string_view path) {
  const auto is_or_ends = [&](std::string_view tail) {
    return path.ends_with(tail) &&
           (path.size() == tail.size() || path[path.size() - tail.size() - 1] == '.');
  };
  return is_or_ends("model.checkpoint") || is_or_ends("model.tokenizer") ||
         is_or_ends("workload.trace.path");
}

Status resolve_value(ConfigNode& node, const std::string& path) {
  if (node.kind != ConfigNode::Kind::scalar) return {};
  Result<std::string> resolved = resolve_file_name(node.text, node.place, path);
  if (!resolved) return tl::unexpected<Error>(resolved.error());
  node.text = std::move(*resolved);
  return {};
}

Status resolve_axis(ConfigNode& axis, const std::string& path) {
  const ConfigNode* key = axis.find("key");
  ConfigNode* values = axis.find("values");
  if (key == nullptr || values == nullptr || !names_file(key->text)) return {};
  for (ConfigNode& value : values->children) {
    if (Status status = resolve_value(value, join_path(path, "values")); !status) return status;
  }
  return {};
}

}  // namespace

std::string data_directory() {
  const char* const given = std::getenv("KVRM_DATA_DIR");
  const std::filesystem::path directory =
      given != nullptr && *given != '\0' ? given : "../shared/data";
  return std::filesystem::absolute(directory).lexically_normal().string();
}

Result<std::string> resolve_file_name(const std::string& name, const SourcePlace& place,
                                      const std::string& path) {
  if (name.empty()) return name;
  std::string expanded = name;
  if (const std::size_t at = expanded.find(kVariable); at != std::string::npos) {
    expanded.replace(at, kVariable.size(), data_directory());
  }
  if (expanded.find("${") != std::string::npos) {
    return config_error(place, path, "\"" + name + "\"",
                        "a file name in which only ${KVRM_DATA_DIR} may stand");
  }
  std::filesystem::path file = expanded;
  if (file.is_relative() && place.line != 0)
    file = std::filesystem::path(place.source).parent_path() / file;
  return std::filesystem::absolute(file).lexically_normal().string();
}

Status resolve_paths(ConfigNode& tree, const std::string& path) {
  if (names_file(path)) return resolve_value(tree, path);
  if (Status status = resolve_axis(tree, path); !status) return status;
  for (std::size_t i = 0; i < tree.children.size(); ++i) {
    ConfigNode& child = tree.children[i];
    const std::string step = tree.kind == ConfigNode::Kind::list ? std::to_string(i) : child.key;
    if (Status status = resolve_paths(child, join_path(path, step)); !status) return status;
  }
  return {};
}

}  // namespace kvrm
