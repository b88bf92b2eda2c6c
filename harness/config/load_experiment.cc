#include "harness/config/load_experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

#include "harness/config/diagnose.h"
#include "harness/config/load_yaml.h"
#include "harness/config/merge.h"
#include "harness/config/paths.h"
#include "harness/config/sections.h"

namespace kvrm {
namespace {

namespace fs = std::filesystem;

Status check_document(const ConfigNode& tree, const std::string& file) {
  if (tree.kind == ConfigNode::Kind::nothing) {
    return config_error({file, 1, 1}, "", "an empty file",
                        "an experiment, beginning with schema: kvrm.experiment/1");
  }
  if (tree.kind != ConfigNode::Kind::map) {
    return config_error(tree.place, "", describe(tree), "a map of the keys of an experiment");
  }
  const ConfigNode* schema = tree.find("schema");
  if (schema != nullptr && schema->text != kExperimentSchema) {
    return config_error(schema->place, "schema", describe(*schema), std::string(kExperimentSchema));
  }
  return {};
}

// Takes `extends` out of the tree. The file it names, found beside the file that names it; empty:
// there is none.
Result<std::string> take_extends(ConfigNode& tree, const std::string& file,
                                 const std::vector<std::string>& open_files) {
  const ConfigNode* extends = tree.find("extends");
  if (extends == nullptr) return std::string();
  const ConfigNode node = *extends;
  std::erase_if(tree.children, [](const ConfigNode& child) { return child.key == "extends"; });
  if (node.kind != ConfigNode::Kind::scalar || node.text.empty()) {
    return config_error(node.place, "extends", describe(node), "the name of an experiment file");
  }
  const std::string base = (fs::path(file).parent_path() / node.text).lexically_normal().string();
  std::error_code ignored;
  if (!fs::is_regular_file(base, ignored)) {
    return config_error(node.place, "extends",
                        fmt::format("\"{}\", but {} is no file", node.text, base),
                        "an experiment file, relative to this one");
  }
  if (std::ranges::find(open_files, fs::weakly_canonical(base).string()) != open_files.end()) {
    return config_error(node.place, "extends",
                        fmt::format("\"{}\", which leads back to itself", node.text),
                        "a chain of files without a cycle");
  }
  return base;
}

Result<ConfigNode> load_chain(const std::string& file, std::vector<std::string>& open_files) {
  Result<ConfigNode> tree = load_yaml_file(file);
  if (!tree) return tree;
  if (Status status = check_document(*tree, file); !status)
    return tl::unexpected<Error>(status.error());
  if (Status status = resolve_paths(*tree, ""); !status)
    return tl::unexpected<Error>(status.error());
  open_files.push_back(fs::weakly_canonical(file).string());
  Result<std::string> base_file = take_extends(*tree, file, open_files);
  if (!base_file) return tl::unexpected<Error>(base_file.error());
  if (base_file->empty()) return tree;
  Result<ConfigNode> base = load_chain(*base_file, open_files);
  if (!base) return base;
  base->place = tree->place;  // what is missing is missing in the file that was asked for
  merge_over(*base, *tree);
  return base;
}

}  // namespace

Result<ConfigNode> load_experiment_text(const std::string& text, const std::string& name) {
  Result<ConfigNode> tree = load_yaml_text(text, name);
  if (!tree) return tree;
  if (Status status = check_document(*tree, name); !status)
    return tl::unexpected<Error>(status.error());
  if (Status status = resolve_paths(*tree, ""); !status)
    return tl::unexpected<Error>(status.error());
  return tree;
}

Result<ConfigNode> load_experiment_tree(const std::string& file) {
  std::vector<std::string> open_files;
  return load_chain(file, open_files);
}

}  // namespace kvrm
