// Text to ConfigNode by yaml-cpp: one document, no anchors, aliases or tags, every key once. A
// broken text is one error with its place. Knows nothing of experiments.
#pragma once

#include <string>
#include <string_view>

#include "harness/base/result.h"
#include "harness/config/config_node.h"

namespace kvrm {

// The whole file; its places name it as `file`. Errors: not there, a directory, not text, no YAML.
// An empty file is a node of kind `nothing`.
Result<ConfigNode> load_yaml_file(const std::string& file);

// `source` names the text in errors. `has_lines` false leaves lines and columns out of all places.
Result<ConfigNode> load_yaml_text(const std::string& text, const std::string& source,
                                  bool has_lines = true);

// The tree as YAML text that load_yaml_text() reads back to an equal tree (places aside).
std::string emit_yaml(const ConfigNode& node);

// The same on one line.
std::string emit_yaml_flow(const ConfigNode& node);

}  // namespace kvrm
