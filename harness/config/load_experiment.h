// An experiment file with everything it inherits by `extends`, as one tree. The keys themselves are
// not looked at, but for `schema` and `extends`.
#pragma once

#include <string>

#include "harness/base/result.h"
#include "harness/config/config_node.h"

namespace kvrm {

// A map without `extends`, its file names absolute. Errors name the file that they are in.
Result<ConfigNode> load_experiment_tree(const std::string& file);

// The same from a text instead of a file's content; it may not extend anything.
Result<ConfigNode> load_experiment_text(const std::string& text, const std::string& name);

}  // namespace kvrm
